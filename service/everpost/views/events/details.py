"""Makes events of entries: looks up in the store what entries do not have. They have little more than ids."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from everpost.clock import stored_time_ms, to_text
from everpost.errors import ServiceError
from everpost.platforms import Catalogue
from everpost.queue.event_log import Entry
from everpost.queue.event_teller import Told
from everpost.queue.progress import Progress
from everpost.store.history import MAX_LIMIT, History, TaskDetail, TaskRow
from everpost.task.callbacks import is_callback
from everpost.task.model import TaskStatus
from everpost.task.place import Place
from everpost.views.events.event import Event, EventType, TaskEvent, sse
from everpost.views.events.position import Position
from everpost.views.hiding import Hiding

log = structlog.get_logger("everpost.events")

TYPES = {
    Told.ACCEPTED: EventType.ACCEPTED,
    Told.STARTED: EventType.STARTED,
    Told.PROGRESS: EventType.PROGRESS,
    Told.ENDED: EventType.ENDED,
    Told.DEFERRED: EventType.CHANGED,
    Told.EDITED: EventType.CHANGED,
    Told.RESOLVED: EventType.CHANGED,
    Told.REMOVED: EventType.CHANGED,
    Told.BROUGHT_BACK: EventType.CHANGED,
}
"""The type of the events of each kind of entry. An acceptance of a retry also changes the task that it retries."""
RETRIED = "retried"
LAST = "ended"  # the id of the last event of a stream about one task
_IDENTITY = ("platform", "account_id", "title", "priority", "batch_id", "retry_of", "submitted_by", "created_at")
_OF_WAITING = ("due_at",)
_OF_ENDED = ("due_at", "started_at", "completed_at", "error_class", "error_message", "provider_post_id", "publish_url")

OF_THE_MOMENT = frozenset({Told.STARTED, Told.PROGRESS})
ALONE_AT_ONCE = 8  # look-ups of archived tasks
AGAIN_S = (0.05, 1.0)  # until the store, or Redis, is asked again: at first, and at most
KEPT_MS = 3_600_000  # for how long events are kept, if their bytes allow it

Row = TaskRow | TaskDetail


class EventDetails:
    """Makes events. The catalogue gives platforms their names, for any spelling in a task."""

    def __init__(self, history: History, catalogue: Catalogue, hiding: Hiding | None = None) -> None:
        self._history = history
        self._hiding = hiding or Hiding()
        self._catalogue = catalogue

    async def events_of(
        self, entries: Sequence[Entry], tag: str, only: Collection[str] | None = None
    ) -> list[list[Event]]:
        """The events of each entry.

        Args:
            tag: That of the stream.
            only: The tasks that are wanted; None is all.

        Raises:
            ServiceError: The store does not answer.
        """
        wanted = {
            task_id: entry.kind
            for entry in entries
            if entry.kind in TYPES
            for task_id in entry.task_ids
            if only is None or task_id in only
        }
        rows = await self._find(wanted)
        accepted = {task_id for entry in entries if entry.kind == Told.ACCEPTED for task_id in entry.task_ids}
        sources = {row.retry_of for task_id, row in rows.items() if task_id in accepted and row.retry_of is not None}
        rows |= await self._find(dict.fromkeys(sources.difference(rows), RETRIED))
        return [[*self._events(entry, rows, tag)] for entry in entries]

    async def events_in_time(
        self, entries: Sequence[Entry], tag: str, only: Collection[str] | None
    ) -> list[list[Event]]:
        """As `events_of`, as soon as the store answers."""
        wait_s = AGAIN_S[0]
        while True:
            try:
                return await self.events_of(entries, tag, only)
            except ServiceError as error:
                log.warning("events.wait_for_store", error=error.message)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, AGAIN_S[1])

    def end_of(self, task: TaskDetail, at_ms: int) -> bytes:
        """The text of the end of a task, for a stream that ends with it."""
        told = _task_event(task, to_text(at_ms), _OF_ENDED, status=task.status)
        platform = None if task.platform is None else self._catalogue.name_of(task.platform)
        return sse(EventType.ENDED, LAST, self._hiding.row(msgspec.structs.replace(told, platform=platform)))

    async def _find(self, wanted: Mapping[str, str]) -> dict[str, Row]:
        """The tasks that there are. One that is in the archive is looked up alone."""
        task_ids = [*wanted]
        found: dict[str, Row] = {}
        for start in range(0, len(task_ids), MAX_LIMIT):
            rows = await self._history.find_rows(task_ids[start : start + MAX_LIMIT])
            found |= {row.task_id: row for row in rows}
        elsewhere = [one for one, kind in wanted.items() if one not in found and kind not in OF_THE_MOMENT]
        for start in range(0, len(elsewhere), ALONE_AT_ONCE):
            tasks = await asyncio.gather(*map(self._history.find_task, elsewhere[start : start + ALONE_AT_ONCE]))
            found |= {task.task_id: task for task in tasks if task is not None}
        return found

    def _events(self, entry: Entry, rows: Mapping[str, Row], tag: str) -> Iterable[Event]:
        kind = TYPES.get(Told(entry.kind)) if entry.kind in TYPES else None
        if kind is None:
            return
        at = to_text(entry.at_ms)
        for position, task_id in enumerate(entry.task_ids):
            row = rows.get(task_id)
            if row is None:
                continue
            text = entry.texts[position] if position < len(entry.texts) else ""
            for one in _told(entry, row, at, text, rows):
                is_source = one.change == RETRIED
                shown = EventType.CHANGED if is_source else kind
                at_place = Position(tag, entry.number, 2 * position + is_source)  # the same in every process
                yield self._event(shown, one, rows[one.task_id], at_place)

    def _event(self, kind: EventType, told: TaskEvent, row: Row, at_place: Position) -> Event:
        platform = None if row.platform is None else self._catalogue.name_of(row.platform)
        told = self._hiding.row(msgspec.structs.replace(told, platform=platform))
        return Event(
            type=kind,
            task_id=told.task_id,
            number=at_place.event or 0,
            text=sse(kind, str(at_place), told),
            platform=platform,
            account_id=row.account_id,
            batch_id=row.batch_id,
            is_callback=is_callback(told.task_id),
        )


def may_have(entry: Entry, types: Collection[str] | None) -> bool:
    """Whether an entry may have events of these types; None is all types."""
    if entry.kind not in TYPES:
        return False
    kind = TYPES[Told(entry.kind)]
    return types is None or kind in types or (kind is EventType.ACCEPTED and EventType.CHANGED in types)


def concerns(entry: Entry, task_ids: Collection[str]) -> bool:
    """Whether an entry is about one of the tasks."""
    return any(task_id in task_ids for task_id in entry.task_ids)


def _told(entry: Entry, row: Row, at: str, text: str, rows: Mapping[str, Row]) -> Iterable[TaskEvent]:
    """What there is to tell of a task, which may have gone on since; nothing if the store has a later state."""
    kind = entry.kind
    has_ended = row.place is not Place.LEDGER
    if kind == Told.ENDED:
        if has_ended:  # else Redis only lost its job, and has it again
            yield _task_event(row, at, _OF_ENDED, status=row.status)
    elif kind == Told.ACCEPTED:
        created_ms = stored_time_ms(row.created_at) if row.created_at else None
        if created_ms is None or entry.at_ms - created_ms > KEPT_MS:
            return  # Redis had lost its job, and has it again
        status = TaskStatus.PENDING if row.due_at is None else TaskStatus.SCHEDULED
        yield _task_event(row, at, _OF_WAITING, status=status, attempts=0)
        source = None if row.retry_of is None else rows.get(row.retry_of)
        if source is not None:
            fields = _OF_ENDED if source.place is not Place.LEDGER else _OF_WAITING
            yield _task_event(source, at, fields, status=source.status, change=RETRIED, retried_as=row.task_id)
    elif kind == Told.STARTED:
        yield _task_event(row, at, (), status=TaskStatus.RUNNING)
    elif kind == Told.PROGRESS:
        progress = _progress_in(text)
        if progress is not None:
            shown = {"status": TaskStatus.RUNNING, "done": progress.done, "total": progress.total}
            yield _task_event(row, at, (), **shown)
    elif kind != Told.DEFERRED or not has_ended:
        yield _task_event(row, at, _OF_ENDED if has_ended else _OF_WAITING, status=row.status, change=kind)


def _task_event(row: Row, at: str, names: Sequence[str], **also: Any) -> TaskEvent:
    fields = {name: getattr(row, name) for name in (*_IDENTITY, *names)}
    attempts = row.attempts if isinstance(row.attempts, int) else len(row.attempts)
    return TaskEvent(**{"task_id": row.task_id, "at": at, "attempts": attempts, **fields, **also})


def _progress_in(text: str) -> Progress | None:
    try:
        return msgspec.json.decode(text, type=Progress)
    except (msgspec.DecodeError, UnicodeError, RecursionError):  # another program wrote it
        return None
