"""Accepts a batch: every valid item becomes a task, and every other item is answered with its error."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from everpost.access import Caller
from everpost.actions.publish import guards_of
from everpost.api.batch.placing import Item, Placing
from everpost.api.named_things import read_submission
from everpost.api.services import Services
from everpost.clock import to_text
from everpost.errors import BadInput, BodyTooLarge, DuplicatePost, InvalidValue, ServiceError
from everpost.store.account_zones import KnownZones
from everpost.store.batches import Accepted, Batch, BatchKind, Posted, Posting
from everpost.store.ledger import FirstAnswer, IdempotencyKey
from everpost.task.model import Task, TaskStatus, new_task_id
from everpost.task.spread import Spread
from everpost.task.submission import Submission, decode_json


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


class PostedBatch:
    """Accepts the items of one batch, in any number of calls.

    Attributes:
        accepted: Items that became tasks.
        rejected: Items that did not.
    """

    def __init__(self, services: Services, caller: Caller) -> None:
        self._services = services
        self._caller = caller
        self.batch_id = new_task_id(services.clock())
        self._zones: KnownZones = {}
        self._placing: Placing | None = None
        self.accepted = 0
        self.rejected = 0

    def spread_over(self, spread: Spread, *, is_stream: bool) -> Placing:
        """Let the tasks that follow be placed; in a stream, from its next lines on.

        Raises:
            InvalidValue: The spread is not valid.
        """
        spread.check_count(is_stream=is_stream)
        placing = Placing(self._services, spread, self._zones)
        if is_stream:
            placing.check()
            self._placing = placing
        return placing

    async def accept_lines(self, lines: Sequence[bytes | None]) -> list[ItemResult]:
        """Accept lines of NDJSON in one transaction; None stands for a line that was too long.

        Raises:
            Unavailable: Nothing can be written now, and nothing was written.
        """
        read = [await self._read_line(line) for line in lines]
        if self._placing is not None:
            read = await self._placing.place_next(read)
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
        return await read_submission(self._services, data, self._zones, caller=self._caller)


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
