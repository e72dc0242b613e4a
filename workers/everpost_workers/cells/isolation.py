"""Runs suspects: tasks whose process died under them. One of them may have killed it.

A suspect runs in a cell, a child process of the worker, so that the next death affects only suspects. After one death
it shares a cell with other suspects; after a second death it has its own cell (`attempt_rules.cell_for`). The reasons:
docs/decisions/0028.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import structlog

from everpost.publishing import Publisher
from everpost.task.attempt_rules import CellKind
from everpost_workers.engine import HandBackError

if TYPE_CHECKING:
    from everpost_workers.cells.cell import Cell

log = structlog.get_logger("everpost.worker")

ALONE_CELLS = 2  # each is a process of about 50 MB
MOST_WAITING = 4  # suspects waiting for their own cell; further ones give their slots back
TURN_S = 2.0  # the longest such wait
AGAIN_S = (0.5, 2.0)  # delay until a suspect that gave its slot back comes again
IDLE_S = 10.0  # an idle cell ends after this time


class Isolation:
    """The cells of one worker; they are started when there are suspects.

    Attributes:
        is_possible: Cells can be started. If not, everything runs in the worker itself.
    """

    def __init__(self, *, is_possible: bool) -> None:
        self.is_possible = is_possible
        self._shared: Cell | None = None
        self._starting = asyncio.Lock()
        self._turns = asyncio.Semaphore(ALONE_CELLS)
        self._waiting = 0
        self._idle: list[Cell] = []
        self._all: set[Cell] = set()
        self._entered: Counter[Cell] = Counter()  # counted before the call, because writing an intent takes time

    @asynccontextmanager
    async def enter(self, publisher: Publisher, kind: CellKind) -> AsyncIterator[Publisher]:
        """The publisher, called in the place that suits the suspect.

        Raises:
            HandBackError: Too many suspects wait for their own cell.
        """
        if kind is CellKind.NONE or not self.is_possible:
            yield publisher
        elif kind is CellKind.SHARED:
            cell = await self._shared_cell()
            with self._kept(cell):
                yield self._called_in(cell, publisher, is_alone=False)
        else:
            await self._wait_for_turn()
            try:
                cell = await self._own_cell()
                try:
                    with self._kept(cell):
                        yield self._called_in(cell, publisher, is_alone=True)
                finally:
                    if cell is not None:
                        self._idle.append(cell)
                        self._end_when_idle(cell)
            finally:
                self._turns.release()

    @contextmanager
    def _kept(self, cell: "Cell | None") -> Iterator[None]:
        """Keep the cell from ending as idle meanwhile."""
        if cell is None:
            yield
            return
        self._entered[cell] += 1
        try:
            yield
        finally:
            self._entered[cell] -= 1
            if not self._entered[cell]:
                del self._entered[cell]

    @staticmethod
    def _called_in(cell: "Cell | None", publisher: Publisher, *, is_alone: bool) -> Publisher:
        if cell is None:
            return publisher
        from everpost_workers.cells.publisher import CellPublisher  # noqa: PLC0415 - as in `_start`

        return CellPublisher(cell, publisher, is_alone=is_alone)

    async def _shared_cell(self) -> "Cell | None":
        async with self._starting:
            if self._shared is None or not self._shared.is_alive:
                self._shared = await self._start()
                if self._shared is not None:
                    self._end_when_idle(self._shared)
            return self._shared

    async def _own_cell(self) -> "Cell | None":
        while self._idle:
            cell = self._idle.pop()
            if cell.is_alive:
                return cell
        return await self._start()

    async def _start(self) -> "Cell | None":
        from everpost_workers.cells.cell import Cell, CellUnavailableError  # noqa: PLC0415 - most workers start no cell

        try:
            cell = await Cell.start()
        except CellUnavailableError as error:
            log.error("cells.unavailable", error=str(error))  # noqa: TRY400 - a traceback would not help
            self.is_possible = False
            return None
        self._all.add(cell)
        log.info("cell.started", pid=cell.pid)
        return cell

    async def _wait_for_turn(self) -> None:
        if self._turns.locked() and self._waiting >= MOST_WAITING:
            raise HandBackError(random.uniform(*AGAIN_S))  # noqa: S311 - spread, so that they do not return together
        self._waiting += 1
        try:
            async with asyncio.timeout(TURN_S):
                await self._turns.acquire()
        except TimeoutError as error:
            raise HandBackError(random.uniform(*AGAIN_S)) from error  # noqa: S311 - as above
        finally:
            self._waiting -= 1

    def _end_when_idle(self, cell: "Cell") -> None:
        asyncio.get_running_loop().call_later(IDLE_S, self._look_at, cell, cell.begun)

    def _look_at(self, cell: "Cell", begun: int) -> None:
        if cell not in self._all:
            return
        if cell.is_alive and (cell in self._entered or cell.calls or cell.begun != begun):
            self._end_when_idle(cell)
            return
        self._all.discard(cell)
        if cell in self._idle:
            self._idle.remove(cell)
        if cell is self._shared:
            self._shared = None
        cell.hang_up()

    async def close(self) -> None:
        """End all cells."""
        await asyncio.gather(*(cell.close() for cell in self._all))
