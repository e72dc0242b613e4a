"""One worker: opened when its event loop runs, and closed at its end; the hooks that the engine calls."""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import islice
from platform import python_version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog

from everpost.clock import BootClock, Clock, to_text
from everpost.errors import ServiceError
from everpost.platforms import Catalogue
from everpost.queue.codec import publish_arguments
from everpost.queue.shared_metrics import SharedMetrics
from everpost.queue.task_queue import TaskQueue
from everpost.queue.workers import with_other_database
from everpost.release import running_version
from everpost.settings import Settings
from everpost.stopping import CLOSE_S
from everpost.store import Store, open_store
from everpost.store.account_directory import announce_needs
from everpost.store.accounts import VERSION as ACCOUNTS
from everpost.store.meta import identity_of, note_debt
from everpost.store.pause import find_pause, warn_of_pause
from everpost_workers.assembly import Ground, WorkerParts, assemble
from everpost_workers.attempts.attempt import AttemptState, ClaimedTask, EndedTask, holds_no_lease
from everpost_workers.attempts.progress import TICK_S
from everpost_workers.cells.handover import take_socket
from everpost_workers.cells.isolation import Isolation
from everpost_workers.engine import BatchWorker, ClaimAnswer
from everpost_workers.gates.known import WATCHED
from everpost_workers.metrics import WorkerMetrics
from everpost_workers.publishers.registry import Overrides, load_publishers, opened_publishers
from everpost_workers.upkeep.duties import Duty, Upkeep, liveness_duties, say_goodbye, tell_owed, worker_duties
from everpost_workers.upkeep.memory import ResultKeeper
from everpost_workers.upkeep.recurring import RECURRING_S

if TYPE_CHECKING:  # most workers make no traces
    from everpost.tracing.spans import Tracing

log = structlog.get_logger("everpost.worker")

PAUSE_POLL_S = 0.5
CHANGES_S = 0.5  # until a change of the limits or of an account is noticed
LEFTOVERS_S = 5.0
RECENT_S = 1.0
STRANGERS_S = 60.0
USES_S = 600.0
EVENTS_S = 5.0
KEYS_S = 3600.0
MOST_TOLD = 10  # tasks in a report, those that have run for longest
LONGEST_TOLD = 64  # characters of an id there


class PublishWorker:
    """The parts of one worker: opened when its event loop runs, and closed at its end."""

    store: Store
    parts: WorkerParts
    engine: BatchWorker

    def __init__(
        self,
        settings: Settings,
        *,
        publishers: Overrides,
        clock: Clock | None,
        boot_clock: BootClock,
        owns_process: bool,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._settings = settings
        self._own_clock = clock
        self._boot_clock = boot_clock
        self._catalogue = Catalogue.read(settings.platforms)
        self._publishers = load_publishers(self._catalogue, settings, publishers)
        if owns_process and (end := take_socket()) is not None:
            from everpost_workers.cells.process import serve_calls  # noqa: PLC0415 - most workers start no cell

            serve_calls(end, self._publishers, self._catalogue, settings)
        self._tracing = tracing
        self._isolation = Isolation(is_possible=owns_process)
        self._stack = AsyncExitStack()
        self.worker_id = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:6]}"
        self._versions = {"version": running_version(), "python": python_version()}  # found by reading files
        self._is_paused = False
        self._database_id = ""
        self._upkeep = Upkeep()

    async def start(self, ctx: dict[str, Any]) -> None:
        """Arq's on_startup: open everything, and start the duties beside the jobs."""
        del ctx
        queue = await self._open()
        self._stack.push_async_callback(say_goodbye, queue, self.worker_id)
        self._stack.push_async_callback(self.parts.leadership.resign)
        self._stack.push_async_callback(self.parts.gate.finish)
        self._stack.push_async_callback(self._upkeep.stop)
        await self._look_for_strangers(queue)
        self._upkeep.begin(liveness_duties(queue, self.worker_id, self.describe))
        await self._wait_while_paused()
        await self.parts.gate.begin()
        with suppress(ServiceError):  # if it can be, before a job is claimed whose end is in such a file
            await self.parts.leftovers.take_in()
        with suppress(ServiceError):  # so that a worker alone does its upkeep from the start
            await self.parts.leadership.beat()
        await self.parts.book.directory.refresh()
        await self._announce_needs()
        self._begin_duties(queue)
        slots, database = self._settings.max_jobs, self._settings.shown_database
        log.info("worker.started", worker=self.worker_id, slots=slots, database=database)

    def _begin_duties(self, queue: TaskQueue) -> None:
        parts, led = self.parts, self.parts.leadership.led
        duties: dict[str, tuple[float, Duty]] = {
            "accounts": (0.0, parts.trials.look_when_due),
            "account_keys": (KEYS_S, led(parts.book.encrypt_anew)),
            "left_over": (LEFTOVERS_S, parts.leftovers.take_in),
            "gate": (0.0, parts.gate.turn_when_due),
            "changes": (CHANGES_S, self._look_for_changes),
            "progress": (TICK_S, parts.board.tick),
            "strangers": (STRANGERS_S, partial(self._look_for_strangers, queue)),
            "uses": (USES_S, led(parts.gate.known.forget_uses)),
            "events": (EVENTS_S, led(partial(tell_owed, self.store, queue))),
            "recurring": (RECURRING_S, led(parts.recurring.tick)),
        }
        if parts.recent is not None:
            duties["recent"] = RECENT_S, parts.recent.record_lost
        self._upkeep.begin(duties)
        self._upkeep.begin(
            worker_duties(
                relay=parts.relay,
                store=self.store,
                results=ResultKeeper(queue, self._settings.result_memory, self._clock),
                settings=self._settings,
                clock=self._clock,
                boot_clock=self._boot_clock,
                leadership=parts.leadership,
                is_busy=lambda: self.engine.job_counter > 0,
                read_numbers=self._shared.read,
            )
        )

    async def _open(self) -> TaskQueue:
        """Open store, publishers and queue, and build the parts that use them."""
        settings, stack = self._settings, self._stack
        if self._tracing is not None:
            stack.push_async_callback(self._tracing.close)
        self.store = await open_store(
            settings.database_address, zone=settings.zone, clock=self._own_clock, redactor=settings.redactor
        )
        stack.push_async_callback(self.store.close)
        self._clock = clock = self._own_clock or self.store.meta.now_ms
        self._started_ms = clock()
        publishers = await stack.enter_async_context(opened_publishers(self._publishers))
        queue = TaskQueue.connect(settings.redis_address, clock, lease_s=settings.lease)
        stack.push_async_callback(queue.close)
        self.store.care.share_timelines(queue.timelines.note)
        queue.events.note_debt = partial(note_debt, self.store.meta)
        self._queue = queue
        self._shared = shared = SharedMetrics(queue.server)
        shared.start()
        stack.push_async_callback(shared.close)
        stack.push_async_callback(self._isolation.close)
        ground = Ground(
            settings=settings,
            catalogue=self._catalogue,
            store=self.store,
            queue=queue,
            publishers=publishers,
            metrics=WorkerMetrics(shared.tally, self._catalogue),
            clock=clock,
            boot_clock=self._boot_clock,
            isolation=self._isolation,
            worker_id=self.worker_id,
            tracing=self._tracing,
        )
        self.parts = parts = assemble(ground)
        stack.push_async_callback(parts.book.close)
        stack.push_async_callback(parts.trials.close)
        stack.push_async_callback(parts.look_ups.close)
        return queue

    async def _announce_needs(self) -> None:
        """Tell the API which publishers need registered accounts. If the store is read-only, the tasks fail later."""
        needed = [name for name, publisher in self._publishers.items() if publisher.needs_account]
        with suppress(ServiceError):
            await announce_needs(self.store.meta, needed)

    async def _look_for_changes(self) -> None:
        """Tell the parts that know limits and accounts when these have changed: one read for all of them."""
        values = await self.store.meta.get_all(WATCHED)
        self.parts.gate.notice(values)
        self.parts.trials.notice(values.get(ACCOUNTS))
        self.parts.look_ups.notice(values)

    async def _look_for_strangers(self, queue: TaskQueue) -> None:
        """Tell if other workers on this Redis use another database: a misconfiguration that loses outcomes.

        The own database may have no identity yet, and be read-only for a while.
        """
        with suppress(ServiceError):
            self._database_id = await identity_of(self.store.meta)
            if strangers := with_other_database(await queue.workers.living(), self._database_id):
                log.error("worker.databases_differ", worker=self.worker_id, others=strangers)

    async def _wait_while_paused(self) -> None:
        """Wait until dispatch is resumed; the engine claims nothing before `start` returns.

        It need not be checked again later: a file is restored only while no process has it open, and a PostgreSQL
        store lets no claim pass once it has found another server.
        """
        self._is_paused = await warn_of_pause(self.store.meta)
        while self._is_paused:
            await asyncio.sleep(PAUSE_POLL_S)
            self._is_paused = await find_pause(self.store.meta) is not None

    async def stop(self, ctx: dict[str, Any]) -> None:
        """Arq's on_shutdown: close everything in reverse order."""
        del ctx
        left_s = self.engine.stop_by + CLOSE_S / 2 - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(left_s, 1.0)):
                await self._stack.aclose()
        except TimeoutError:
            log.warning("worker.not_closed", advice="Redis or the disk does not answer; nothing is lost by that.")
        log.info("worker.stopped", worker=self.worker_id)

    @property
    def _trouble(self) -> str | None:
        if stuck := self.engine.stuck_count:
            return f"{stuck} attempts do not heed being cancelled; it ends when the others have, to be started again."
        trouble = self.store.care.state().trouble
        return None if trouble is None else trouble.message

    def describe(self) -> dict[str, Any]:
        """The worker's report about itself."""
        return {
            **self._versions,
            "slots": self._settings.max_jobs,
            "paused": self._is_paused,
            "consuming": self.engine.is_consuming,
            "database_id": self._database_id,
            "clock_ahead_ms": self.store.care.state().host_ahead_ms,
            "leads": self.parts.leadership.leads,
            "relay_trouble": self._upkeep.failures.get("relay"),
            "trouble": self._trouble,
            "running": len(self.engine.job_tasks),
            "doing": [job_id for job_id in islice(self.engine.job_tasks, MOST_TOLD) if len(job_id) <= LONGEST_TOLD],
            "started_at": to_text(self._started_ms),
        }

    def now_ms(self) -> int:
        """The time by the worker's clock."""
        return self._clock()

    def has_store(self) -> bool:
        """Whether the database can be reached: without it no task begins."""
        return self.store.care.state().is_reachable

    async def publish(self, ctx: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The arq job function."""
        state: AttemptState = ctx["context"]
        state.holds_lease = ctx["holds_lease"]
        try:
            if self.parts.traced is None:
                return await self.parts.runner.publish(state, publish_arguments(args, kwargs))
            queued_ms = max(round(ctx["enqueue_time"].timestamp() * 1_000), ctx["score"])
            with self.parts.traced.attempt(state, queued_ms):
                return await self.parts.runner.publish(state, publish_arguments(args, kwargs))
        finally:  # it refers to the job, and the job to the state: only the collector frees such a cycle
            state.holds_lease = holds_no_lease

    async def on_claim(self, claims: Sequence[ClaimedTask]) -> Mapping[str, ClaimAnswer]:
        """The claim hook."""
        answers = await self.parts.admission.admit(claims)
        if self.engine.is_heard:
            runnable = (claim.job_id for claim in claims if claim.ends_as is None)
            self.parts.starts.tell([task_id for task_id in runnable if task_id not in answers])
        return answers

    def on_released(self, claims: Sequence[ClaimedTask]) -> None:
        """The hook for jobs that this worker no longer holds."""
        self.parts.gate.on_released(claims)

    async def on_leftovers(self, outcomes: Sequence[EndedTask]) -> None:
        """The hook for outcomes that could not be recorded before the worker had to end."""
        await self.parts.leftovers.keep(outcomes)

    async def on_complete(self, outcomes: Sequence[EndedTask]) -> None:
        """The on-complete hook."""
        await self.parts.ends.record(outcomes)
        await self.parts.starts.wait()
