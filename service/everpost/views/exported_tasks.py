"""Tasks for an export: what a list shows of each, its data, and the cursor that goes on behind it; step by step."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict

from everpost.errors import QueueUnreachable
from everpost.queue.gates import NOTHING_KNOWN, Gates
from everpost.store import history
from everpost.store.history import History, TaskFilter
from everpost.store.payloads import read_members
from everpost.task.model import UNFINISHED, TaskStatus
from everpost.task.place import Place as Places
from everpost.views.hiding import Hiding
from everpost.views.shown_tasks import NAMES, Place

STEP = 250  # tasks that are read and written together; nothing else runs in the process while they are written
STEP_BYTES = 2 << 20  # of data, unless one task has more
WITHIN_S = 30.0  # for a step; a rare filter may read many tasks to find few


class ExportedTask(history.TaskRow, frozen=True, kw_only=True):
    """A task of an export. Times are UTC text; see `everpost.store.history.TaskRow`.

    Attributes:
        task_data: What the client sent, without hidden members; null if it is not exported, or damaged.
        task_data_text: The stored text if it is not a JSON object.
        cursor: Goes on behind this task.
    """

    place: Place  # type: ignore[assignment]
    task_data: dict[str, Any] | None = None
    task_data_text: str | None = None
    cursor: str


class TaskExport:
    """Reads tasks in the order of lists, newest first, a step at a time. No step keeps a transaction open behind it."""

    def __init__(self, tasks: History, gates: Gates, hiding: Hiding) -> None:
        self._history = tasks
        self._gates = gates
        self._hiding = hiding

    async def steps(
        self, wanted: TaskFilter, cursor: str | None = None, *, with_data: bool = True
    ) -> AsyncIterator[list[ExportedTask]]:
        """The tasks that match, as they are when their step is read.

        Raises:
            InvalidValue: `cursor` is not a cursor, or the search is too long.
            SearchTimeout: A step took too long.
        """
        while True:
            step = await self._history.step(wanted, cursor, STEP, within_s=WITHIN_S)
            if not step.tasks:
                return
            ids = [task.task_id for task in step.tasks]
            running = await self._running_among(step.tasks)
            start = 0
            while start < len(ids):
                data = await self._history.data_of(ids[start:], STEP_BYTES) if with_data else {}
                end = _end_of(ids, start, data) if with_data else len(ids)
                yield [
                    self._exported(task, cursor, data.get(task.task_id), is_running=task.task_id in running)
                    for task, cursor in zip(step.tasks[start:end], step.cursors[start:end], strict=True)
                ]
                start = end
            cursor = step.cursors[-1]

    async def _running_among(self, tasks: Sequence[history.TaskRow]) -> frozenset[str]:
        unfinished = [task.task_id for task in tasks if task.place is Places.LEDGER and task.status in UNFINISHED]
        if not unfinished:
            return frozenset()
        try:
            return frozenset((await self._gates.find(unfinished)).running)
        except QueueUnreachable:
            return frozenset(NOTHING_KNOWN.running)

    def _exported(self, task: history.TaskRow, cursor: str, data: bytes | None, *, is_running: bool) -> ExportedTask:
        fields = asdict(self._hiding.row(task))
        fields["place"] = NAMES[task.place]
        if is_running:
            fields["status"] = TaskStatus.RUNNING
        return ExportedTask(**fields, **self._data(data), cursor=cursor)

    def _data(self, data: bytes | None) -> dict[str, Any]:
        if not data:
            return {}
        members = read_members(data)
        if members is not None:
            hides_nothing = not self._hiding.redactor.may_name(data)
            return {"task_data": msgspec.Raw(data) if hides_nothing else self._hiding.members(members)}
        return {"task_data_text": self._hiding.damaged(data.decode(errors="replace"))}


def _end_of(ids: Sequence[str], start: int, data: Mapping[str, bytes]) -> int:
    """The position after the last task in `data`. Later tasks did not fit, or have no data."""
    having = [number for number in range(start, len(ids)) if ids[number] in data]
    return having[-1] + 1 if having else len(ids)
