"""Accepts a batch: every valid item becomes a task, and every other item is answered with its error."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from everpost.actions.publish import guards_of
from everpost.api.named_things import read_submission
from everpost.api.services import Services
from everpost.clock import to_text
from everpost.errors import BadInput, BodyTooLarge, DuplicatePost, InvalidValue, ServiceError
from everpost.store.account_zones import KnownZones, zone_named
from everpost.store.batches import Accepted, Batch, BatchKind, Posted, Posting
from everpost.store.ledger import FirstAnswer, IdempotencyKey
from everpost.task.model import Task, TaskStatus, new_task_id
from everpost.task.schedule_times import local_text
from everpost.task.spread import Spread
from everpost.task.submission import MAX_AHEAD_MS, Submission, decode_json, encode_json


class ItemResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of one item of a batch. `index` counts from 0; blank lines do not count.

    `schedule_time` is the time that `spread` gave it.
    `earlier_task_id` is the task with the same content, if the item is a duplicate.
    """

    index: int
    success: bool
    task_id: str | None = None
    status: TaskStatus | None = None
    schedule_time: str | None = None
    warning: str | None = None
    code: str | None = None
    message: str | None = None
    path: str | None = None
    unknown_fields: Sequence[str] | None = None
    earlier_task_id: str | None = None


Item = Submission | ServiceError
"""An item that a client sent, or its error."""


class PostedBatch:
    """Accepts the items of one batch, in any number of calls.

    Attributes:
        accepted: Items that became tasks.
        rejected: Items that did not.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self.batch_id = new_task_id(services.clock())
        self._zones: KnownZones = {}
        self.accepted = 0
        self.rejected = 0

    async def accept_lines(self, lines: Sequence[bytes | None]) -> list[ItemResult]:
        """Accept lines of NDJSON in one transaction; None stands for a line that was too long.

        Raises:
            Unavailable: Nothing can be written now, and nothing was written.
        """
        read = [await self._read_line(line) for line in lines]
        submissions = submissions_of(read)
        if any(submission.platform.duplicate_window_s for submission in submissions):
            nothing = FirstAnswer(self.batch_id, "")
            _, read, tasks = await self.accept_together(read, lambda *_: nothing)
            return self.results_of(read, tasks)
        tasks = await self._services.acceptance.publish_tasks(submissions, self.batch_id) if submissions else []
        return self.results_of(read, tasks)

    async def accept_together(
        self,
        items: Sequence[Item],
        answer_of: Callable[[Sequence[Item], Sequence[Task]], FirstAnswer],
        *,
        callback_url: str | None = None,
        key: IdempotencyKey | None = None,
    ) -> tuple[Accepted, list[Item], list[Task]]:
        """Accept valid items in one transaction, except duplicates, with what belongs to them.

        Args:
            answer_of: The answer to the client, given the items with the duplicates' errors, and the new tasks. Pure.
            callback_url: Told when all tasks have ended.

        Returns:
            What the store says, the items with the duplicates' errors, and the new tasks.
        """
        acceptance, now_ms = self._services.acceptance, self._services.clock()
        submissions = submissions_of(items)
        tasks = [one.task(now_ms, acceptance.accepted_by, self.batch_id) for one in submissions]

        def rule(duplicates: Mapping[str, str]) -> Posted:
            kept = [task for task in tasks if task.task_id not in duplicates]
            answer = answer_of(with_duplicates(items, tasks, duplicates), kept)
            return Posted(answer=answer, batch=self._batch(len(items), len(kept), callback_url, now_ms))

        guards = guards_of(submissions, tasks, now_ms)
        accepted = await acceptance.publish_posting(Posting(tasks=tasks, rule=rule, guards=guards, key=key))
        return accepted, with_duplicates(items, tasks, accepted.duplicates), list(accepted.tasks)

    def _batch(self, total: int, accepted: int, callback_url: str | None, now_ms: int) -> Batch | None:
        """The batch as it is kept; only one with an address is."""
        if callback_url is None:
            return None
        return Batch(
            batch_id=self.batch_id,
            kind=BatchKind.BATCH,
            created_at=to_text(now_ms),
            callback_url=callback_url,
            total=total,
            rejected=total - accepted,
            unfinished=accepted,
        )

    async def read_values(self, values: Sequence[Any], path: str) -> list[Item]:
        """Check decoded JSON values; `path` is the JSON path of their list."""
        return [await self._read_value(value, f"{path}[{n}]") for n, value in enumerate(values)]

    async def place(self, items: Sequence[Item], values: Sequence[Any], spread: Spread) -> list[Item]:
        """The items with the times that `spread` gives to those that have none.

        Args:
            values: The decoded JSON of the items.

        Raises:
            InvalidValue: The spread is not valid.
        """
        spread.check()
        wanted = None if spread.timezone is None else zone_named(spread.timezone, "$.spread.timezone")
        placed = list(items)
        for numbers in _groups(items, counts_accounts=spread.counts_accounts):
            first = items[numbers[0]]
            assert isinstance(first, Submission), "only valid items are placed"
            zone = wanted or await self._zone_of(first, spread) or self._services.zones.default
            times = spread.times(len(numbers), zone, self._services.clock())
            for number, time_ms in zip(numbers, times, strict=True):
                placed[number] = _placed(items[number], values[number], time_ms, zone, self._services.clock())
        return placed

    async def _zone_of(self, item: Submission, spread: Spread) -> tzinfo | None:
        if not spread.counts_accounts:
            return None
        return await self._services.zones.of_account(item.platform.name, item.view.account_id, self._zones)

    def refuse(self, count: int, error: ServiceError) -> list[ItemResult]:
        """Answer `count` items with the error that prevented all of them."""
        return self.results_of([error] * count, [])

    def results_of(self, read: Sequence[Item], tasks: Sequence[Task]) -> list[ItemResult]:
        """The answers for the next items, of which the valid ones became `tasks`; also counts them."""
        results = results_from(read, tasks, self.accepted + self.rejected)
        self.accepted += len(tasks)
        self.rejected += len(read) - len(tasks)
        return results

    async def _read_line(self, line: bytes | None) -> Item:
        if line is None:
            return BodyTooLarge(self._services.settings.max_body)
        try:
            return await self._check(decode_json(line))
        except BadInput as error:
            return error

    async def _read_value(self, value: Any, path: str) -> Item:
        try:
            return await self._check(value)
        except InvalidValue as error:
            error.path = path + error.path.removeprefix("$")
            return error
        except BadInput as error:
            return error

    async def _check(self, data: Any) -> Submission:
        return await read_submission(self._services, data, self._zones)


def results_from(read: Sequence[Item], tasks: Sequence[Task], first: int = 0) -> list[ItemResult]:
    """The answers for items, of which the valid ones became `tasks`; `first` is the index of the first one."""
    accepted = iter(tasks)
    return [
        _rejection(index, item) if isinstance(item, ServiceError) else _acceptance(index, next(accepted), item)
        for index, item in enumerate(read, first)
    ]


def with_duplicates(items: Sequence[Item], tasks: Sequence[Task], duplicates: Mapping[str, str]) -> list[Item]:
    """The items, with errors instead of those whose tasks are duplicates; `tasks` are those of all valid items."""
    if not duplicates:
        return list(items)
    made = iter(tasks)
    earlier = [None if isinstance(item, ServiceError) else duplicates.get(next(made).task_id) for item in items]
    return [item if found is None else DuplicatePost(found) for item, found in zip(items, earlier, strict=True)]


def submissions_of(items: Sequence[Item]) -> list[Submission]:
    """The valid items."""
    return [item for item in items if isinstance(item, Submission)]


def _groups(items: Sequence[Item], *, counts_accounts: bool) -> Iterable[Sequence[int]]:
    """The numbers of the valid items without a time of their own, of each account or of all."""
    groups: dict[tuple[str, str] | None, list[int]] = {}
    for number, item in enumerate(items):
        if isinstance(item, Submission) and item.view.schedule_time is None:
            account = (item.platform.name, item.view.account_id) if counts_accounts else None
            groups.setdefault(account, []).append(number)
    return groups.values()


def _placed(item: Item, value: Any, time_ms: int, zone: tzinfo, now_ms: int) -> Submission:
    """The item as if the client had sent it with the time."""
    assert isinstance(item, Submission), "only valid items are placed"
    if time_ms > now_ms + MAX_AHEAD_MS:
        raise InvalidValue("The last of these times is more than ten years ahead.", "$.spread")
    text = local_text(time_ms, zone)
    return msgspec.structs.replace(
        item,
        view=msgspec.structs.replace(item.view, schedule_time=text),
        task_data=encode_json({**value, "schedule_time": text}),
        due_at_ms=time_ms,
        is_placed=True,
    )


def _acceptance(index: int, task: Task, item: Submission) -> ItemResult:
    return ItemResult(
        index=index,
        success=True,
        task_id=task.task_id,
        status=task.status_at(task.created_at_ms),
        schedule_time=item.view.schedule_time if item.is_placed else None,
        warning=item.warning,
        unknown_fields=item.unknown_fields or None,
    )


def _rejection(index: int, error: ServiceError) -> ItemResult:
    path = getattr(error, "path", None)
    earlier = error.task_id if isinstance(error, DuplicatePost) else None
    return ItemResult(
        index=index, success=False, code=error.code, message=error.message, path=path, earlier_task_id=earlier
    )
