"""The worker's duties beside its jobs: the relay, its sign of life, and removing what has expired."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from everpost.clock import DAY_MS, BootClock, Clock, to_text
from everpost.errors import QueueUnreachable, ServiceError
from everpost.files.upkeep import FilesUpkeep
from everpost.metrics import Field
from everpost.pace import Pace
from everpost.queue.task_queue import TaskQueue
from everpost.running_time import STEP_S, ClockMark, count_step
from everpost.settings import Settings
from everpost.store import Store
from everpost.store.archiving import archive_older
from everpost.store.meta import EVENTS_DEBT
from everpost.store.timeline import sums_of
from everpost_workers.engine import cancel_until_done
from everpost_workers.upkeep.leadership import BEAT_S, Leadership
from everpost_workers.upkeep.memory import ResultKeeper
from everpost_workers.upkeep.relay import Relay

log = structlog.get_logger("everpost.upkeep")

HOUR_MS = 3_600_000
ARCHIVE_S = 1800.0
REMAINS_EVERY_S = 3600.0
CHUNK = 1_000
REST = 4  # seconds of rest per second of work
LONG_REST = 24  # the same for the search index while tasks run: no client waits for it
COUNT_EVERY_S = 3600.0
AGAIN_S = 15.0  # until a duty that failed is tried again; twice as long after each further failure
TEND_S = 10.0
ENDS_S = 5.0
CAUSES_S = 60.0
TOLD = 300  # characters of an error in the report
ALIVE_S = 5.0  # a worker that is silent for longer counts as dead

Duty = Callable[[], Awaitable[object]]
Duties = Mapping[str, tuple[float, Duty]]
"""By name: the seconds between two turns, and the duty."""

CountTime = Callable[[], Awaitable[ClockMark]]


class Upkeep:
    """Repeats duties, each at its own interval.

    A duty that fails is logged, and tried again at its next turn or sooner.

    Attributes:
        failures: The error of each duty whose last turn raised something other than a `ServiceError`: a defect.
    """

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        self._loops: list[asyncio.Task[None]] = []

    def begin(self, duties: Duties) -> None:
        """Start these duties in the running event loop."""
        self._loops += [
            asyncio.create_task(self._repeat(name, every_s, duty), name=name)
            for name, (every_s, duty) in duties.items()
        ]

    async def stop(self) -> None:
        """Stop all duties at once."""
        await cancel_until_done(*self._loops)

    async def _repeat(self, name: str, every_s: float, duty: Duty) -> None:
        again_s = AGAIN_S
        while True:
            if await self._is_done(name, duty, is_told=again_s > AGAIN_S):
                again_s = AGAIN_S
                await asyncio.sleep(every_s)
            else:
                await asyncio.sleep(min(again_s, every_s))
                again_s *= 2

    async def _is_done(self, name: str, duty: Duty, *, is_told: bool) -> bool:
        """Whether the duty did not fail; `is_told`: it failed before, too."""
        try:
            await duty()
        except ServiceError as error:
            log.log(10 if is_told else 30, "upkeep.failed", duty=name, error=error.message)
            return False
        except Exception as error:
            told = f"{type(error).__name__}: {error}"[:TOLD]
            if self.failures.get(name) != told:
                log.exception("upkeep.failed", duty=name)
            self.failures[name] = told
            return False
        self.failures.pop(name, None)
        return True


def liveness_duties(queue: TaskQueue, worker_id: str, describe: Callable[[], Mapping[str, Any]]) -> Duties:
    """The duties from the worker's start on, even while dispatch is paused; `describe` gives the worker's report."""

    async def announce() -> None:
        await queue.workers.announce(worker_id, describe(), ALIVE_S)

    async def bury_dead() -> None:
        await queue.workers.forget(await queue.workers.dead())

    return {"announce": (ALIVE_S / 5, announce), "bury": (15.0, bury_dead)}


def worker_duties(
    *,
    relay: Relay,
    store: Store,
    results: ResultKeeper,
    settings: Settings,
    clock: Clock,
    boot_clock: BootClock,
    leadership: Leadership,
    is_busy: Callable[[], bool],
    read_numbers: Callable[[], Awaitable[Mapping[Field, int]]],
) -> Duties:
    """The duties of a worker that takes tasks. Most are the leader's alone: once is enough for all workers.

    Args:
        is_busy: Whether the worker is running tasks.
        read_numbers: The counts of all processes.
    """
    led = leadership.led

    async def count_time() -> ClockMark:
        return await store.meta.count_time(partial(count_step, wall_ms=clock(), since_boot=boot_clock()))

    async def forget_expired() -> None:
        keys_kept_ms = settings.idempotency_hours * HOUR_MS
        now_ms = clock() if (await count_time()).is_trusted else None
        await _until_none(lambda: store.care.forget_expired(keys_kept_ms, now_ms, CHUNK))

    async def fill_search() -> None:
        await _until_none(lambda: store.care.fill_search(CHUNK), lambda: LONG_REST if is_busy() else REST)

    files = FilesUpkeep(store, settings, clock)
    return {
        "lead": (BEAT_S, leadership.beat),
        "relay": (1.0, partial(_look_for_losses, relay, leadership)),
        "search": (1.0, led(fill_search)),
        "promote": (1.0, led(lambda: _until_none(lambda: store.ledger.promote_due(clock(), CHUNK)))),
        "results": (1.0, led(results.tick)),
        "clock": (STEP_S, led(count_time)),
        "expire": (60.0, led(forget_expired)),
        "files": (60.0, led(partial(_forget_files, files, count_time))),
        "remains": (REMAINS_EVERY_S, led(files.remove_remains)),
        "archive": (ARCHIVE_S, led(partial(_archive_old, store, settings, clock, leadership, count_time))),
        "audit": (ARCHIVE_S, led(partial(_purge_audit, store, settings, clock, count_time))),
        "tend": (TEND_S, led(lambda: store.care.tend(clock()))),
        "counts": (COUNT_EVERY_S, led(store.care.repair_counts)),
        **_overview_duties(store, clock, leadership, read_numbers),
    }


def _overview_duties(
    store: Store, clock: Clock, leadership: Leadership, read_numbers: Callable[[], Awaitable[Mapping[Field, int]]]
) -> Duties:
    """What an operator's first look needs."""

    async def note_ends() -> None:
        with suppress(QueueUnreachable):
            await store.timeline.add(sums_of(await read_numbers()), clock() // 1000)

    async def find_causes() -> None:
        await _until_none(lambda: store.failures.fill(clock(), CHUNK))

    return {"ends": (ENDS_S, leadership.led(note_ends)), "causes": (CAUSES_S, leadership.led(find_causes))}


async def _archive_old(
    store: Store, settings: Settings, clock: Clock, leadership: Leadership, count_time: CountTime
) -> None:
    """Archive tasks that are older than the settings want, while this worker leads and the clock is certain."""
    if settings.archive_after_days and (await count_time()).is_trusted:
        before_ms = clock() - settings.archive_after_days * DAY_MS
        async for _ in archive_older(store, before_ms, Pace(CHUNK, rest=REST), clock):
            if not leadership.leads:
                return


async def _forget_files(files: FilesUpkeep, count_time: CountTime) -> None:
    await _until_none(files.forget_uses)
    if (await count_time()).is_trusted:
        await _until_none(files.remove_uploads)
        await _until_none(files.remove_unused)


async def _purge_audit(store: Store, settings: Settings, clock: Clock, count_time: CountTime) -> None:
    """Destroy entries that are older than the settings want, unless the clock may be wrong."""
    if settings.audit_days and (await count_time()).is_trusted:
        before = to_text(clock() - settings.audit_days * DAY_MS)
        await _until_none(lambda: store.audit.purge(before, CHUNK))


async def _look_for_losses(relay: Relay, leadership: Leadership) -> None:
    if leadership.leads or await relay.has_seen_loss():
        await relay.tick()


async def _until_none(step: Callable[[], Awaitable[int]], rest: Callable[[], int] = lambda: REST) -> None:
    """Repeat the step until it finds nothing to do, resting in between so that clients are served."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while await step():
        await asyncio.sleep(max(0.01, rest() * (loop.time() - began)))
        began = loop.time()


async def tell_owed(store: Store, queue: TaskQueue) -> None:
    """Tell readers of events what others owed them when they died, or that they have missed something."""
    debt = await store.meta.get(EVENTS_DEBT)
    if debt:
        await queue.events.break_off()
        await store.meta.replace(EVENTS_DEBT, debt, "")
    await queue.events.tell_owed()


async def say_goodbye(queue: TaskQueue, worker_id: str) -> None:
    """Remove the worker from the living workers, if Redis answers."""
    with suppress(ServiceError):
        await queue.workers.forget([worker_id])
