"""Recurring posts, for clients: adds, edits, pauses, resumes and removes them, and shows their next times.

Workers make the tasks (`everpost_workers.upkeep.recurring`), each shortly before its time. After a change, the next
occurrence is one of which no task was made, so no change makes one twice.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, tzinfo
from itertools import islice, pairwise
from typing import Annotated, Any

import msgspec
import structlog
from msgspec import Meta
from msgspec.structs import replace

from everpost.actions.cancel import Cancellations
from everpost.actions.named_things import NamedThings
from everpost.clock import Clock, from_text, to_text, to_text_or_none
from everpost.errors import InvalidValue, RecurrenceChanged, RecurrenceNotFound, ServiceError
from everpost.store.account_zones import AccountZones
from everpost.store.recurring import Recurring
from everpost.task.cron import CRON_PATH, check_cron, times_after
from everpost.task.merge_patch import merge_patch
from everpost.task.model import new_task_id
from everpost.task.recurrence import Recurrence, RecurrenceStatus, next_time, next_times
from everpost.task.schedule_times import local_text, place_time, read_moment
from everpost.task.submission import Submission, SubmissionReader, encode_json, invalid_value

log = structlog.get_logger("everpost.recurring")

TRIES = 5  # at a recurring post that workers and other clients change at the same time
DATA_PATH = "$.data"
UNTIL_PATH = "$.until"
COMPARED = 100  # times of a cron expression, for the shortest distance between two

RecurrenceName = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f/]+\Z")]


class RecurrenceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recurring post as a client writes it."""

    name: Annotated[RecurrenceName, Meta(description="Unique; without slashes")]
    cron: Annotated[str, Meta(description="Minute, hour, day of month, month, day of week")]
    timezone: Annotated[
        str | None, Meta(description="IANA name of the zone of its times; default: the account's, or EVERPOST_TIMEZONE")
    ] = None
    until: Annotated[str | None, Meta(description="No post after this time")] = None
    data: Annotated[dict[str, Any], Meta(description="The task, as for POST /publish, without schedule_time")]


class RecurringTools(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that recurring posts use."""

    recurring: Recurring
    cancellations: Cancellations
    reader: SubmissionReader
    named: NamedThings
    zones: AccountZones
    clock: Clock


class RecurringPosts:
    """Changes and shows recurring posts. Each is named by its id or its name."""

    def __init__(self, tools: RecurringTools) -> None:
        self._tools = tools
        self._recurring = tools.recurring

    async def add(self, request: RecurrenceRequest) -> Recurrence:
        """Keep a new one.

        Raises:
            InvalidValue: A value is not valid, or it would never be made.
            RecurrenceExists: Another one has its name.
        """
        made = await self.read(request)
        await self._recurring.add(made)
        log.info("recurring.added", recurrence_id=made.recurrence_id, name=made.name, next_at=made.next_at)
        return made

    async def read(self, request: RecurrenceRequest) -> Recurrence:
        """A new one, checked and not kept; errors as in `add`."""
        now = to_text(self._tools.clock())
        bare = Recurrence(
            recurrence_id=new_task_id(self._tools.clock()),
            name=request.name,
            cron=request.cron,
            task_data=b"{}",
            platform="",
            account_id="",
            created_at=now,
            updated_at=now,
        )
        return await self._with(bare, request)

    async def find(self, key: str) -> Recurrence:
        """The one with this id or name.

        Raises:
            RecurrenceNotFound: There is no such recurring post.
        """
        found = await self._recurring.find(key)
        if found is None:
            raise RecurrenceNotFound(key)
        return found

    async def page(self, after: str, limit: int) -> Sequence[Recurrence]:
        """Those after a name, in the order of their names."""
        return await self._recurring.page(after, limit)

    async def next_times(self, recurrence: Recurrence, count: int) -> list[str]:
        """Its next times, whether or not it is active, in its zone, at most `count`. Raises `InvalidValue`."""
        zone = await self._tools.zones.of_recurrence(recurrence)
        return [local_text(time_ms, zone) for time_ms in next_times(recurrence, zone, self._tools.clock(), count)]

    async def edit(self, key: str, patch: Mapping[str, Any]) -> Recurrence:
        """Change it by a JSON merge patch of what it was added with. The next occurrence is counted from now on.

        Raises:
            InvalidValue, RecurrenceExists: As in `add`.
            RecurrenceNotFound, RecurrenceChanged: As in `pause`.
        """
        return await self._change(key, lambda before: self._edited(before, patch))

    async def pause(self, key: str) -> Recurrence:
        """Make no occurrence until it is resumed.

        Raises:
            RecurrenceNotFound: There is no such recurring post.
            RecurrenceChanged: Others kept changing it.
        """

        async def paused(before: Recurrence) -> Recurrence:
            return replace(before, status=RecurrenceStatus.PAUSED, reason=None, next_at=None)

        return await self._change(key, paused)

    async def resume(self, key: str) -> Recurrence:
        """Go on with the next occurrence from now; those in between are not made. Errors as in `pause`, and `add`."""
        return await self._change(key, self._resumed)

    async def remove(self, key: str) -> Recurrence:
        """Remove it; its tasks stay. Raises `RecurrenceNotFound`."""
        found = await self.pause(key)
        if not await self._recurring.remove(found.recurrence_id):
            raise RecurrenceNotFound(key)
        log.info("recurring.removed", recurrence_id=found.recurrence_id, name=found.name)
        return found

    async def _change(self, key: str, make: Callable[[Recurrence], Awaitable[Recurrence]]) -> Recurrence:
        for _ in range(TRIES):
            before = await self.find(key)
            now_ms = self._tools.clock()
            made = await make(before)
            after = replace(made, version=before.version + 1, updated_at=to_text(now_ms))
            if await self._recurring.change(before, after, None, now_ms):
                if after.status is RecurrenceStatus.PAUSED:
                    await self._cancel_upcoming(before, now_ms)
                log.info("recurring.changed", recurrence_id=after.recurrence_id, status=after.status.value)
                return after
        raise RecurrenceChanged

    async def _cancel_upcoming(self, before: Recurrence, now_ms: int) -> None:
        """Cancel the task of an occurrence that is not due yet. If that fails, it runs."""
        if before.last_task_id is not None and (from_text(before.last_at) or 0) > now_ms:
            with suppress(ServiceError):
                await self._tools.cancellations.cancel_task(before.last_task_id)

    async def _edited(self, before: Recurrence, patch: Mapping[str, Any]) -> Recurrence:
        after = merge_patch(request_of(before), patch)
        try:
            request = msgspec.convert(after, RecurrenceRequest)
        except msgspec.ValidationError as error:
            raise invalid_value(error) from error
        made = await self._with(before, request)
        return (
            made if before.status is not RecurrenceStatus.PAUSED else replace(made, status=before.status, next_at=None)
        )

    async def _resumed(self, before: Recurrence) -> Recurrence:
        if before.status is RecurrenceStatus.ACTIVE:
            return before
        return await self._scheduled(replace(before, status=RecurrenceStatus.ACTIVE, reason=None))

    async def _with(self, bare: Recurrence, request: RecurrenceRequest) -> Recurrence:
        """The recurring post with what a request says, checked."""
        check_cron(request.cron)
        data = await self._check_data(request.data)
        made = replace(
            bare,
            name=request.name,
            cron=" ".join(request.cron.split()),
            timezone=request.timezone,
            task_data=data.task_data,
            platform=data.platform.name,
            account_id=data.view.account_id,
        )
        _check_repetition(made, data, self._tools.clock())
        zone = await self._tools.zones.of_recurrence(made)
        return await self._scheduled(replace(made, until_at=_until_at(request.until, zone)))

    async def _check_data(self, data: Mapping[str, Any]) -> Submission:
        if data.get("schedule_time") is not None:
            raise InvalidValue("A recurring post gets its times from `cron`.", f"{DATA_PATH}.schedule_time")
        try:
            made = self._tools.reader.check(dict(data), self._tools.clock())
            await self._tools.named.check(made)
        except InvalidValue as error:
            error.path = DATA_PATH + error.path.removeprefix("$")
            raise
        return made

    def unknown_fields(self, recurrence: Recurrence) -> Sequence[str]:
        """The fields of its task that neither Everpost nor the platform reads."""
        return self._tools.reader.unknown_fields(recurrence.platform, msgspec.json.decode(recurrence.task_data))

    async def _scheduled(self, made: Recurrence) -> Recurrence:
        """The recurring post with its next occurrence, of which no task was made."""
        zone = await self._tools.zones.of_recurrence(made)
        next_ms = next_time(made, zone, max(self._tools.clock(), from_text(made.last_at) or 0))
        if next_ms is None:
            raise InvalidValue("It would never be made, because no time of it is before `until`.", UNTIL_PATH)
        return replace(made, status=RecurrenceStatus.ACTIVE, next_at=to_text_or_none(next_ms))


def request_of(recurrence: Recurrence) -> dict[str, Any]:
    """What a recurring post could be added with, as JSON; `until` is in UTC."""
    request = {
        "name": recurrence.name,
        "cron": recurrence.cron,
        "timezone": recurrence.timezone,
        "until": recurrence.until_at,
        "data": msgspec.json.decode(recurrence.task_data),
    }
    return {name: value for name, value in request.items() if value is not None}


def read_recurrence_patch(value: Any) -> dict[str, Any]:
    """A JSON merge patch of a recurring post.

    Raises:
        InvalidValue: It is not an object, or a text has the character NUL.
    """
    if not isinstance(value, dict):
        raise InvalidValue("A merge patch of a recurring post is a JSON object.")
    encode_json(value)
    return value


def _check_repetition(made: Recurrence, data: Submission, now_ms: int) -> None:
    """Check that it does not repeat its content sooner than its platform's guard against duplicates lets a client."""
    window_s = data.platform.duplicate_window_s
    if window_s is None or data.view.allow_duplicate:
        return
    times = list(islice(times_after(made.cron, UTC, now_ms), COMPARED))  # in UTC, no clock is put forward or back
    gap_s = min((later - earlier) / 1_000 for earlier, later in pairwise(times)) if len(times) > 1 else window_s
    if gap_s < window_s:
        raise InvalidValue(
            f"It would post the same content again after {gap_s:g} s, and {data.platform.name} takes it again after "
            f"{window_s:g} s only; allow_duplicate in `data` permits it.",
            CRON_PATH,
        )


def _until_at(text: str | None, zone: tzinfo) -> str | None:
    return None if text is None else to_text(place_time(read_moment(text, UNTIL_PATH), zone, path=UNTIL_PATH).time_ms)
