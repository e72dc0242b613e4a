"""A batch being accepted: every valid item becomes a task, every other one is answered with what is wrong with it."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from service.api.services import Services
from service.errors import BadInput, BodyTooLarge, InvalidValue, ServiceError
from service.submission import Submission
from service.task import TaskStatus, new_task_id


class ItemResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one item of a batch; `index` counts from 0, blank lines not counted."""

    index: int
    success: bool
    task_id: str | None = None
    status: TaskStatus | None = None
    code: str | None = None
    message: str | None = None
    path: str | None = None


class BatchIntake:
    """Accepts the items of one batch, in as many calls as they come in.

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
        """Accept lines of NDJSON, in one transaction; None is one that was too long.

        Raises:
            Unavailable: Nothing can be written now, and nothing was.
        """
        return await self._accept([self._read_line(line) for line in lines])

    async def accept_values(self, values: Sequence[Any], path: str) -> list[ItemResult]:
        """Accept decoded JSON values; `path` is the JSON path of their list. Errors as in `accept_lines`."""
        return await self._accept([self._read_value(value, f"{path}[{n}]") for n, value in enumerate(values)])

    def refuse(self, count: int, error: ServiceError) -> list[ItemResult]:
        """Answer `count` items with the error that kept all of them out."""
        return self._results([error] * count, [])

    async def _accept(self, read: Sequence[Submission | ServiceError]) -> list[ItemResult]:
        submissions = [item for item in read if isinstance(item, Submission)]
        accepted: list[tuple[str, TaskStatus]] = []
        if submissions:
            tasks = await self._services.intake.publish_tasks(submissions, self.batch_id)
            accepted = [(task.task_id, task.status_at(task.created_at_ms)) for task in tasks]
        return self._results(read, accepted)

    def _results(
        self, read: Sequence[Submission | ServiceError], accepted: Sequence[tuple[str, TaskStatus]]
    ) -> list[ItemResult]:
        first = self.accepted + self.rejected
        tasks = iter(accepted)
        results = [
            _rejection(index, item) if isinstance(item, ServiceError) else _acceptance(index, *next(tasks))
            for index, item in enumerate(read, first)
        ]
        self.accepted += len(accepted)
        self.rejected += len(read) - len(accepted)
        return results

    def _read_line(self, line: bytes | None) -> Submission | ServiceError:
        if line is None:
            return BodyTooLarge(self._services.settings.max_body)
        return _attempt(lambda: self._services.reader.read(line, self._services.clock()))

    def _read_value(self, value: Any, path: str) -> Submission | ServiceError:
        read = _attempt(lambda: self._services.reader.check(value, self._services.clock()))
        if isinstance(read, InvalidValue):
            read.path = path + read.path.removeprefix("$")
        return read


def _attempt(read: Callable[[], Submission]) -> Submission | ServiceError:
    try:
        return read()
    except BadInput as error:
        return error


def _acceptance(index: int, task_id: str, status: TaskStatus) -> ItemResult:
    return ItemResult(index=index, success=True, task_id=task_id, status=status)


def _rejection(index: int, error: ServiceError) -> ItemResult:
    path = getattr(error, "path", None)
    return ItemResult(index=index, success=False, code=error.code, message=error.message, path=path)
