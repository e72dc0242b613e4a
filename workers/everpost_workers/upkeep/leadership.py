"""Which of all workers does the upkeep that one worker does for all of them: the leader."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import structlog

from everpost.errors import ServiceError
from everpost.store.meta import LEADER, Meta

log = structlog.get_logger("everpost.upkeep")

BEAT_S = 3.0
LOST_S = 9.0  # a leader whose beat has not changed for so long is replaced
MARGIN_S = 1.0  # a leader stops before the others may replace it


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What the leader writes into the store.

    Attributes:
        owner: The leading worker; empty if it has resigned.
        term: Counts the leaders.
        beat: Counts the marks of this leader, so that each is another one.
        has_redis: Whether Redis answers the leader.
    """

    owner: str
    term: int
    beat: int = 0
    has_redis: bool = True


class Leadership:
    """This worker's part in the choice of the leader.

    The leader renews its mark in the store every `BEAT_S`. A worker that has seen the same mark for `LOST_S` replaces
    it. Each worker measures this with its own monotonic clock, so the hosts' clocks do not matter. All marks are
    compare-and-set. A leader that Redis does not answer is replaced at once by a worker that Redis answers.

    For a moment, a worker that was frozen in the midst of a step may do the rest of this step beside the new leader.
    So two workers may do each duty at once, and the leader only saves the others the work.

    Args:
        has_redis: Whether Redis answers this worker.
    """

    def __init__(self, meta: Meta, worker_id: str, has_redis: Callable[[], bool]) -> None:
        self._meta = meta
        self._worker_id = worker_id
        self._has_redis = has_redis
        self._ours: str | None = None  # the last mark of this worker, as stored
        self._seen: str | None = None
        self._seen_at = 0.0
        self._leads_until = 0.0
        self._gained = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether this worker is the leader."""
        return time.monotonic() < self._leads_until

    def led(self, duty: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
        """The duty for the leader alone: on another worker it begins once that has become the leader."""

        async def do() -> None:
            while not self.leads:
                self._gained.clear()
                await self._gained.wait()
            await duty()

        return do

    async def beat(self) -> None:
        """Renew the mark of this worker, or replace that of a leader which is lost.

        Raises:
            ServiceError: The store cannot be read or written; without a mark, this worker soon does not lead.
        """
        began = time.monotonic()
        if self._ours is not None and self.leads and await self._mark(self._ours, _read(self._ours), began):
            return
        stored = await self._meta.get(LEADER)
        if stored != self._seen:
            self._seen, self._seen_at = stored, time.monotonic()
        mark = _read(stored)
        is_ours = mark.owner == self._worker_id
        if (is_ours or self._may_replace(mark, began)) and await self._mark(stored, mark, began):
            if not is_ours:
                log.info("upkeep.leads", worker=self._worker_id, term=mark.term + 1, before=mark.owner or None)
        else:
            self._ours, self._leads_until = None, 0.0

    async def _mark(self, stored: str | None, mark: Mark, began: float) -> bool:
        """Replace the stored mark by the next one of this worker; False if another worker was quicker."""
        ours = Mark(
            owner=self._worker_id,
            term=mark.term + (mark.owner != self._worker_id),
            beat=mark.beat + 1,
            has_redis=self._has_redis(),
        )
        written = msgspec.json.encode(ours).decode()
        if not await self._meta.replace(LEADER, stored, written):
            return False
        self._ours, self._leads_until = written, began + LOST_S - MARGIN_S
        self._gained.set()
        return True

    async def resign(self) -> None:
        """Let another worker lead at once, if the store can be written."""
        self._leads_until = 0.0
        with suppress(ServiceError):
            stored = await self._meta.get(LEADER)
            mark = _read(stored)
            if mark.owner == self._worker_id:
                left = msgspec.structs.replace(mark, owner="")
                await self._meta.replace(LEADER, stored, msgspec.json.encode(left).decode())

    def _may_replace(self, mark: Mark, now: float) -> bool:
        is_lost = now - self._seen_at >= LOST_S
        return not mark.owner or is_lost or (not mark.has_redis and self._has_redis())


def _read(stored: str | None) -> Mark:
    """The stored mark. Nothing stored, or what another program wrote, counts as a mark without an owner."""
    try:
        return Mark(owner="", term=0) if stored is None else msgspec.json.decode(stored, type=Mark)
    except msgspec.DecodeError:
        return Mark(owner="", term=0)
