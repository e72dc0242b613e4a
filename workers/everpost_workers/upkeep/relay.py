"""The relay: puts back into Redis the jobs it has lost (I7)."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from uuid import uuid4

import structlog

from everpost.clock import Clock
from everpost.queue.event_teller import Told
from everpost.queue.task_queue import TaskQueue
from everpost.store import Store
from everpost.store.meta import EPOCH
from everpost.store.pause import find_pause
from everpost.store.relay import MayBeSent, OddFacts, OddTask, StuckError
from everpost.task.model import QueueEntry

log = structlog.get_logger("everpost.relay")

CHUNK = 500  # tasks compared in one call
RESTORED = 100  # payloads in memory at a time
FRESH_MS = 3_000  # after this time the process that accepted a task has enqueued it, or failed to
FULL_SWEEP_MS = 600_000
ROUND_TICKS = 20
ROUND_SHARE_S = 0.05
LOST_SWEEP_MS = 1_000
EVICTED_SWEEP_MS = 5_000


def _always(_: OddFacts) -> bool:
    return True


class Relay:
    """Compares ledger and queue.

    The relay looks in Redis for every accepted row once, soon after it was written. It looks for all of them when Redis
    is another one than before (FLUSHALL, an empty replacement, a restart from its file), soon after Redis dropped keys
    for lack of memory, when the clock was set back, and every ten minutes. At each tick it also looks for some tasks,
    in turns: jobs that other programs removed are back within 30 s while no more than about 100,000 tasks wait. The
    leader's relay does this for all workers. Another worker's looks once if that worker has seen a loss, or if Redis is
    another one when it starts, because the leader may be dead. Several relays may run at once, because enqueuing twice
    changes nothing.

    A row that no worker can run ends in the history, as failed or unknown, where a person finds it, so that it does not
    delay others.
    """

    def __init__(
        self, store: Store, queue: TaskQueue, clock: Clock, *, renewal_s: float = 0.0, may_be_sent: MayBeSent = _always
    ) -> None:
        """`renewal_s` is how long workers take to renew the leases of running jobs after Redis lost them."""
        self._store = store
        self._queue = queue
        self._clock = clock
        self._renewal_s = renewal_s
        self._may_be_sent = may_be_sent
        self._stuck: set[str] = set()  # tokens of rows that cannot be set aside
        self._cursor: str | None = None
        self._round_cursor: str | None = None
        self._round_quota = 0
        self._next_full_ms = 0
        self._asked_ms: int | None = None
        self._knows_epoch = False
        self._epoch: str | None = None  # of the Redis that the ledger was compared with at the last tick
        self._evicted = 0

    def look_again(self, after_ms: int = LOST_SWEEP_MS) -> None:
        """Look for every task soon; not at once, because jobs with lost payloads are still being dropped from Redis."""
        asked_ms = self._clock() + after_ms
        self._asked_ms = asked_ms if self._asked_ms is None else min(self._asked_ms, asked_ms)

    @property
    def is_asked(self) -> bool:
        """Whether `look_again` was called so long ago that a tick would look for every task now."""
        return self._asked_ms is not None and not 0 < self._asked_ms - self._clock() <= EVICTED_SWEEP_MS

    async def has_seen_loss(self) -> bool:
        """Whether a worker that does not lead has to tick: for a loss that it has seen, or one before its start.

        Raises:
            QueueUnreachable: Redis is away; the next call looks.
        """
        if not self._knows_epoch:
            known = await self._store.meta.get(EPOCH)
            if (await self._queue.losses.identify(uuid4().hex)).epoch != known:
                self.look_again(after_ms=0)
            self._knows_epoch = True
        return self.is_asked

    async def tick(self) -> int:
        """Compare once; returns how many tasks went back into their queues.

        Raises:
            QueueUnreachable: Redis is away; the next tick continues where this one stopped.
        """
        if await self._is_paused():
            return 0
        redis = await self._queue.losses.identify(uuid4().hex)
        known = redis.epoch if redis.epoch == self._epoch else await self._store.meta.get(EPOCH)
        is_new = redis.epoch != known
        if is_new:
            if known is not None:
                log.warning("relay.redis_changed", epoch=redis.epoch)
            await asyncio.sleep(self._renewal_s)  # a first start too may come just after a FLUSHALL
        self._note_evictions(redis.evicted)
        is_due = not 0 < self._next_full_ms - self._clock() <= FULL_SWEEP_MS  # or the clock was set back
        if is_new or is_due or self.is_asked:
            self._cursor = None
        is_whole = self._cursor is None
        restored = await self._sweep(0 if is_new else FRESH_MS)
        if is_new:
            await self._store.meta.set(EPOCH, redis.epoch)
        self._epoch = redis.epoch
        if not is_whole:
            restored += await self._go_round()
        return restored + await self._return_withdrawn()

    def _note_evictions(self, evicted: int) -> None:
        if evicted > self._evicted:
            log.warning("relay.redis_evicts", keys=evicted - self._evicted)
            self.look_again(EVICTED_SWEEP_MS)
        self._evicted = evicted

    async def _sweep(self, fresh_ms: int) -> int:
        if self._cursor is None:
            self._next_full_ms = self._clock() + FULL_SWEEP_MS
            if self.is_asked:
                self._asked_ms = None
        cursor, restored = self._cursor, 0
        while True:
            page = await self._store.relay.page(cursor, self._clock() - fresh_ms, CHUNK)
            await self._set_aside(page.odd)
            restored += await self._restore(page.entries)
            self._cursor, cursor = page.resume_cursor, page.next_cursor
            if cursor is None:
                return restored

    async def _go_round(self) -> int:
        """Look for some of the tasks again; returns how many went back.

        Other programs may remove queue entries without a trace. All tasks get their turn within `ROUND_TICKS` ticks, or
        later if that would take more than `ROUND_SHARE_S` of each tick.
        """
        is_first = self._round_cursor is None
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + ROUND_SHARE_S
        looked_for = restored = 0
        while True:
            page = await self._store.relay.page(self._round_cursor, self._clock() - FRESH_MS, CHUNK)
            restored += await self._restore(page.entries)
            looked_for += len(page.entries) + len(page.odd)
            self._round_cursor = page.next_cursor
            if page.next_cursor is None:
                return restored
            if is_first:
                is_first = False
                self._round_quota = -(-await self._store.ledger.count_unfinished() // ROUND_TICKS)
            if looked_for >= self._round_quota or loop.time() > ends_at:
                return restored

    async def _return_withdrawn(self) -> int:
        """Put back tasks whose withdrawal is old: the process that withdrew them died. Returns how many."""
        restored = 0
        while task_ids := await self._queue.losses.old_withdrawals(CHUNK):
            runnable = await self._store.relay.runnable(task_ids)
            await self._set_aside(runnable.odd)
            restored += await self._restore(runnable.tasks)
            await self._queue.losses.forget_withdrawals(task_ids)
        return restored

    async def _restore(self, entries: Sequence[QueueEntry]) -> int:
        """Put back those of the tasks that Redis has lost and the ledger still has; returns how many."""
        missing = await self._queue.losses.missing_among(entries)
        restored: list[str] = []
        for start in range(0, len(missing), RESTORED):
            task_ids = [entry.task_id for entry in missing[start : start + RESTORED]]
            with_result = await self._queue.losses.results_among(task_ids)
            runnable = await self._store.relay.runnable(task_ids)
            if await self._is_paused():
                self.look_again(after_ms=0)
                break
            tasks = runnable.tasks
            await self._set_aside(runnable.odd)
            await self._forget_planted(with_result.intersection(task.task_id for task in tasks))
            answers = await self._queue.enqueuer.restore_tasks(tasks)
            restored += [task.task_id for task, is_back in zip(tasks, answers, strict=True) if is_back]
        if restored:
            log.warning("relay.restored", tasks=len(restored), task_id=restored[0])
        return len(restored)

    async def _is_paused(self) -> bool:
        """Whether dispatch is paused since a server was promoted that may lack commits.

        Then a result in Redis may be that of a task whose end was lost, and `everpost resume` needs it.
        """
        return self._store.care.state().may_lack_commits and await find_pause(self._store.meta) is not None

    async def _forget_planted(self, task_ids: Collection[str]) -> None:
        """Remove results of tasks that were still in the ledger after these results were seen.

        An outcome is in the history before its result is in Redis (I3), so other programs wrote these results.
        """
        if task_ids:
            log.error("relay.results_planted", tasks=len(task_ids), task_id=min(task_ids))
            await self._queue.losses.forget_results(task_ids)

    async def _set_aside(self, odd_tasks: Iterable[OddTask]) -> None:
        """End tasks that cannot run. If one cannot be moved, it stays, and the log reports it once."""
        for odd in odd_tasks:
            if odd.token in self._stuck:
                continue
            try:
                async with self._queue.events.telling(Told.ENDED, [odd.token], owed_as=Told.LOST) as ended:
                    moved = await self._store.relay.set_aside(odd, self._may_be_sent, self._clock())
                    ended.extend([] if moved is None else [moved.task_id])
            except StuckError as error:
                self._stuck.add(odd.token)
                log.error("relay.row_stuck", row=odd.token, fault=odd.fault, error=str(error))  # noqa: TRY400 - not Everpost's defect
            else:
                if moved is not None:
                    status = moved.status.value
                    log.error("task.set_aside", task_id=moved.task_id, row=odd.token, fault=odd.fault, status=status)
