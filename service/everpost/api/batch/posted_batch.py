"""Accepts a batch: every valid item becomes a task, and every other item is answered with its error."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from everpost.api.named_things import check_named_things, names_something
from everpost.api.services import Services
from everpost.clock import to_text
from everpost.errors import BadInput, BodyTooLarge, InvalidValue, ServiceError
from everpost.store.batches import Batch, BatchKind, Posted, Posting
from everpost.store.ledger import FirstAnswer, IdempotencyKey
from everpost.task.model import Task, TaskStatus, new_task_id
from everpost.task.submission import Submission


class ItemResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of one item of a batch. `index` counts from 0; blank lines do not count."""

    index: int
    success: bool
    task_id: str | None = None
    status: TaskStatus | None = None
    code: str | None = None
    message: str | None = None
    path: str | None = None


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
        self.accepted = 0
        self.rejected = 0

    async def accept_lines(self, lines: Sequence[bytes | None]) -> list[ItemResult]:
        """Accept lines of NDJSON in one transaction; None stands for a line that was too long.

        Raises:
            Unavailable: Nothing can be written now, and nothing was written.
        """
        read = await self._checked([self._read_line(line) for line in lines])
        submissions = submissions_of(read)
        tasks = await self._services.acceptance.publish_tasks(submissions, self.batch_id) if submissions else []
        return self.results_of(read, tasks)

    async def accept_calling_back(
        self,
        submissions: Sequence[Submission],
        total: int,
        callback_url: str,
        answer_of: Callable[[list[Task]], FirstAnswer],
        key: IdempotencyKey | None,
    ) -> FirstAnswer:
        """Accept valid items in one transaction; `callback_url` is told when all have ended. The answer to the client.

        Args:
            total: The number of items, with those that are not valid.
        """
        acceptance, now_ms = self._services.acceptance, self._services.clock()
        tasks = [one.task(now_ms, acceptance.accepted_by, self.batch_id) for one in submissions]
        batch = Batch(
            batch_id=self.batch_id,
            kind=BatchKind.BATCH,
            created_at=to_text(now_ms),
            callback_url=callback_url,
            total=total,
            rejected=total - len(tasks),
            unfinished=len(tasks),
        )
        posted = Posted(answer=answer_of(tasks), batch=batch)
        return (await acceptance.publish_posting(Posting(tasks=tasks, rule=lambda _: posted, key=key))).answer

    async def read_values(self, values: Sequence[Any], path: str) -> list[Item]:
        """Check decoded JSON values; `path` is the JSON path of their list."""
        paths = [f"{path}[{number}]" for number in range(len(values))]
        read = [self._read_value(value) for value in values]
        return [_at(item, place) for item, place in zip(await self._checked(read), paths, strict=True)]

    async def _checked(self, items: list[Item]) -> list[Item]:
        """The items, with errors instead of those whose files or account are not there."""
        for number, item in enumerate(items):
            if isinstance(item, Submission) and names_something(item):
                try:
                    await check_named_things(self._services, item)
                except BadInput as error:
                    items[number] = error
        return items

    def refuse(self, count: int, error: ServiceError) -> list[ItemResult]:
        """Answer `count` items with the error that prevented all of them."""
        return self.results_of([error] * count, [])

    def results_of(self, read: Sequence[Item], tasks: Sequence[Task]) -> list[ItemResult]:
        """The answers for the next items, of which the valid ones became `tasks`; also counts them."""
        first = self.accepted + self.rejected
        accepted = iter(tasks)
        results = [
            _rejection(index, item) if isinstance(item, ServiceError) else _acceptance(index, next(accepted))
            for index, item in enumerate(read, first)
        ]
        self.accepted += len(tasks)
        self.rejected += len(read) - len(tasks)
        return results

    def _read_line(self, line: bytes | None) -> Item:
        if line is None:
            return BodyTooLarge(self._services.settings.max_body)
        return _attempt(lambda: self._services.reader.read(line, self._services.clock()))

    def _read_value(self, value: Any) -> Item:
        return _attempt(lambda: self._services.reader.check(value, self._services.clock()))


def submissions_of(items: Sequence[Item]) -> list[Submission]:
    """The valid items."""
    return [item for item in items if isinstance(item, Submission)]


def _at(item: Item, path: str) -> Item:
    if isinstance(item, InvalidValue):
        item.path = path + item.path.removeprefix("$")
    return item


def _attempt(read: Callable[[], Submission]) -> Item:
    try:
        return read()
    except BadInput as error:
        return error


def _acceptance(index: int, task: Task) -> ItemResult:
    return ItemResult(index=index, success=True, task_id=task.task_id, status=task.status_at(task.created_at_ms))


def _rejection(index: int, error: ServiceError) -> ItemResult:
    path = getattr(error, "path", None)
    return ItemResult(index=index, success=False, code=error.code, message=error.message, path=path)
