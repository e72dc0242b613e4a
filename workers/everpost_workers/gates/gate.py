"""The gate of one worker: asks which claimed tasks may begin, gives permits back, and lets waiting tasks out."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import tzinfo
from typing import Any

from everpost.clock import Clock
from everpost.errors import ServiceError
from everpost.limits import Scope
from everpost.platforms import Catalogue
from everpost.queue.gates import LimitsLostError, Refused, Told, Turned, lane_key, lane_score
from everpost.queue.task_queue import TaskQueue
from everpost.store import Store
from everpost.store.limits import Use
from everpost.store.meta import EPOCH
from everpost_workers.engine import Claim, Elsewhere
from everpost_workers.gates.known import KnownLimits

TICK_S = 0.5  # until tasks are let out that a dead worker should have let out
QUIET_S = 5.0  # the same while there are no limits and no lanes
QUIET_TURNS = 10  # in a row that found nothing: a change that was noticed may not have reached Redis


class Gate:
    """One worker's part in the gate, which Redis decides about; see `service/everpost/queue/scripts/gate.lua`.

    A task without a limit costs a look into a dictionary.

    Attributes:
        known: The limits.
    """

    def __init__(self, store: Store, queue: TaskQueue, clock: Clock, catalogue: Catalogue, zone: tzinfo) -> None:
        self._store = store
        self._gates = queue.gates
        self._clock = clock
        self.known = KnownLimits(store, queue, clock, catalogue, zone)
        self._running: dict[str, Scope] = {}  # tasks that Redis has let begin here, with their lanes
        self._leaving: dict[str, Scope] = {}  # tasks on the way into their lanes
        self._told = Told()
        self._closing: dict[Scope, int] = {}  # ms, of lanes that are to be closed
        self._is_to_report = False
        self._seen: Mapping[str, str] = {}
        self._wake = asyncio.Event()
        self._next_in_s = 0.0
        self._quiet_turns = 0

    async def begin(self) -> None:
        """Read the limits, and tell Redis if it answers.

        Raises:
            ServiceError: The store does not answer.
        """
        await self.known.read()
        is_first = await self._store.meta.get(EPOCH) is None
        with suppress(ServiceError):
            await self.known.tell(replaces=True, is_first=is_first)

    # claims

    async def ask(self, tasks: Sequence[tuple[Claim[Any], Scope, int]]) -> dict[str, Elsewhere]:
        """Those of the tasks that must wait in their lanes; the others may begin, which counts.

        Args:
            tasks: As of `Gates.ask`.

        Raises:
            Unavailable: Redis or the store does not answer: then none of them may begin.
        """
        answers = await self._decide([(claim.job_id, lane, late_ms) for claim, lane, late_ms in tasks])
        waiting: dict[str, Elsewhere] = {}
        uses: list[Use] = []
        for (claim, lane, _), refused in zip(tasks, answers, strict=True):
            if refused is not None:
                self._leaving[claim.job_id] = lane
                waiting[claim.job_id] = Elsewhere(lane_key(lane), lane_score(claim.queue_name, claim.score))
                continue
            self._running[claim.job_id] = lane
            if self.known.count_uses(lane):
                uses.append(Use(claim.job_id, lane, self._clock()))
        if uses:
            await self._store.limits.note_uses(uses)
        return waiting

    async def _decide(self, tasks: Sequence[tuple[str, Scope, int]]) -> list[Refused | None]:
        try:
            return await self._gates.ask(tasks)
        except LimitsLostError:
            await self.known.tell()
            return await self._gates.ask(tasks)

    def on_released(self, claims: Sequence[Claim[Any]]) -> None:
        """Note that this worker no longer holds these tasks; the engine's hook."""
        if not self._running and not self._leaving:
            return
        for claim in claims:
            if (lane := self._running.pop(claim.job_id, None)) is not None:
                self._told.back += (claim.job_id, lane)
            elif (lane := self._leaving.pop(claim.job_id, None)) is not None:
                self._told.parked.append(lane)
        if self._told.back or self._told.parked:
            self._wake.set()

    def close_lane(self, lane: Scope, wait_s: float) -> None:
        """Let no task of a lane begin for some time: its platform answered "too fast"."""
        wait_ms = round(wait_s * 1000)
        self._closing[lane] = max(wait_ms, self._closing.get(lane, 0))
        self.known.note_closed(lane)
        self._wake.set()

    # turns

    def notice(self, values: Mapping[str, str]) -> None:
        """Note the values of `WATCHED` in the store: if one has changed, the next turn is at once."""
        if values != self._seen:
            self._seen, self._quiet_turns = values, 0
            self.known.notice(values)
            self._wake.set()

    async def turn_when_due(self) -> None:
        """Wait until something may have changed, then do a turn; the worker repeats this.

        Raises:
            ServiceError: The store or Redis does not answer.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self._next_in_s):
                await self._wake.wait()
        self._next_in_s = TICK_S
        await self.turn()

    async def turn(self) -> None:
        """Give permits back, and let out tasks for which there is room.

        Raises:
            ServiceError: The store or Redis does not answer; then the next turn tells the rest.
        """
        self._wake.clear()
        await self.known.refresh()
        await self._keep_closures()
        turned = await self._tell()
        while turned.has_more and turned.let_out:
            turned = await self._tell()
        if turned.opens_in_s is not None:
            self._next_in_s = min(TICK_S, turned.opens_in_s)
        self._is_to_report = turned.is_rebuilding
        self.known.learn_closed({*turned.closed_for_ms, *self._closing})
        is_quiet = self.known.is_empty and not turned.has_lanes and not self._running and not self._leaving
        self._quiet_turns = self._quiet_turns + 1 if is_quiet else 0
        if self._quiet_turns >= QUIET_TURNS:
            self._next_in_s = QUIET_S
        if turned.needs_uses:
            await self.known.tell_uses()
            self._wake.set()

    async def _keep_closures(self) -> None:
        """Write closed lanes into the store, in case Redis is lost."""
        for lane, wait_ms in list(self._closing.items()):
            await self._store.limits.close(lane, self._clock() + wait_ms)

    async def _tell(self) -> Turned:
        told, self._told = self._told, Told()
        closing, self._closing = self._closing, {}
        told.closed = [part for lane in closing.items() for part in lane]
        if self._is_to_report:
            told.held = [part for task in self._running.items() for part in task]
        try:
            return await self._turn(told)
        except BaseException:
            self._told = Told(back=told.back + self._told.back, parked=told.parked + self._told.parked)
            self._closing = closing | self._closing
            raise

    async def _turn(self, told: Told) -> Turned:
        try:
            return await self._gates.turn(told)
        except LimitsLostError:
            self._is_to_report = True
            await self.known.tell()
            return await self._gates.turn(told)

    async def finish(self) -> None:
        """Give the last permits back, if Redis answers. Otherwise they end with their leases."""
        if self._told.back or self._told.parked:
            with suppress(ServiceError):
                await self._turn(self._told)
