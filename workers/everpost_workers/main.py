"""The worker's composition root: from settings to a `BatchWorker`."""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import islice
from platform import python_version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from arq.connections import ArqRedis
from arq.worker import func

from everpost.clock import BootClock, Clock, system_boot_clock, to_text
from everpost.database_address import is_postgresql
from everpost.errors import ServiceError, Unavailable
from everpost.failpoints import failpoint, watch_failpoints
from everpost.platforms import Catalogue
from everpost.publishing import Publisher
from everpost.queue.codec import FUNCTION, deserialize, publish_arguments, serialize
from everpost.queue.keys import EVENTS, PARKED, QUEUE_NAMES, RESULTS_KEY
from everpost.queue.overwritten_keys import set_aside
from everpost.queue.pool import connection_pool
from everpost.queue.shared_metrics import SharedMetrics
from everpost.queue.task_queue import TaskQueue
from everpost.queue.workers import with_other_database
from everpost.release import running_version
from everpost.settings import Settings
from everpost.stopping import CLOSE_S, end_process_in, process_budget_s
from everpost.store import Store, open_store
from everpost.store.account_directory import announce_needs
from everpost.store.account_zones import AccountZones, zones_in
from everpost.store.accounts import VERSION as ACCOUNTS
from everpost.store.meta import EVENTS_DEBT, identity_of, note_debt
from everpost.store.pause import find_pause, warn_of_pause
from everpost.store.relay import OddFacts
from everpost.task.earlier_attempts import may_be_sent
from everpost_workers.accounts.book import AccountBook
from everpost_workers.accounts.trials import AccountTrials
from everpost_workers.attempts.admission import Admission, class_of
from everpost_workers.attempts.asked_look_ups import AskedLookUps
from everpost_workers.attempts.attempt import AttemptState, ClaimedTask, EndedTask, PublishFailedError, holds_no_lease
from everpost_workers.attempts.progress import TICK_S, ProgressBoard
from everpost_workers.attempts.runner import AttemptRunner
from everpost_workers.attempts.starts import Starts
from everpost_workers.cells.handover import take_socket
from everpost_workers.cells.isolation import Isolation
from everpost_workers.ends.leftovers import LeftoverFiles, Leftovers
from everpost_workers.ends.recent import RecentEnds
from everpost_workers.ends.recorder import EndRecorder
from everpost_workers.ends.results import serializer_like
from everpost_workers.engine import LONGEST_ROUND_S, BatchWorker, ClaimAnswer
from everpost_workers.gates.gate import Gate
from everpost_workers.gates.known import WATCHED
from everpost_workers.metrics import WorkerMetrics
from everpost_workers.process_end import end_blocked_process
from everpost_workers.publishers.registry import Overrides, load_publishers, opened_publishers
from everpost_workers.upkeep.duties import Upkeep, liveness_duties, say_goodbye, worker_duties
from everpost_workers.upkeep.leadership import Leadership
from everpost_workers.upkeep.memory import ResultKeeper
from everpost_workers.upkeep.recurring import RECURRING_S, RecurringPosts
from everpost_workers.upkeep.relay import Relay

if TYPE_CHECKING:  # most workers make no traces
    from everpost.tracing.spans import Tracing
    from everpost_workers.attempts.traced import TracedAttempts

log = structlog.get_logger("everpost.worker")

UNLIMITED_TRIES = 1_000_000  # attempts are counted in the ledger, which a restart of Redis does not reset
LARGEST_PAYLOAD_BYTES = 64 * 1024 * 1024  # a minimum, because tasks accepted under a larger limit must fit too
PAYLOAD_FACTOR = 8  # JSON that is encoded again has at most this many times the bytes of its body
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
PUBLISHER_GRACE_S = 30  # added to the publisher's own time limit, which ends an attempt first


class PublishWorker:
    """The parts of one worker: opened when its event loop runs, and closed at its end."""

    store: Store
    leadership: Leadership
    relay: Relay
    gate: Gate
    recurring: RecurringPosts
    admission: Admission
    board: ProgressBoard
    runner: AttemptRunner
    book: AccountBook
    trials: AccountTrials
    look_ups: AskedLookUps
    ends: EndRecorder
    leftovers: Leftovers
    recent: RecentEnds | None
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
        self._traced: TracedAttempts | None = None
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
        self._stack.push_async_callback(self.leadership.resign)
        self._stack.push_async_callback(self.gate.finish)
        self._stack.push_async_callback(self._upkeep.stop)
        await self._look_for_strangers(queue)
        self._upkeep.begin(liveness_duties(queue, self.worker_id, self.describe))
        await self._wait_while_paused()
        await self.gate.begin()
        with suppress(ServiceError):  # if it can be, before a job is claimed whose end is in such a file
            await self.leftovers.take_in()
        with suppress(ServiceError):  # so that a worker alone does its upkeep from the start
            await self.leadership.beat()
        await self.book.directory.refresh()
        await self._announce_needs()
        self._upkeep.begin({"accounts": (0.0, self.trials.look_when_due)})
        self._upkeep.begin({"account_keys": (KEYS_S, self.leadership.led(self.book.encrypt_anew))})
        self._upkeep.begin({"left_over": (LEFTOVERS_S, self.leftovers.take_in)})
        self._upkeep.begin({"gate": (0.0, self.gate.turn_when_due)})
        self._upkeep.begin({"changes": (CHANGES_S, self._look_for_changes)})
        if self.recent is not None:
            self._upkeep.begin({"recent": (RECENT_S, self.recent.record_lost)})
        self._upkeep.begin({"progress": (TICK_S, self.board.tick)})
        self._upkeep.begin({"strangers": (STRANGERS_S, partial(self._look_for_strangers, queue))})
        duties = worker_duties(
            relay=self.relay,
            store=self.store,
            results=ResultKeeper(queue, self._settings.result_memory, self._clock),
            settings=self._settings,
            clock=self._clock,
            boot_clock=self._boot_clock,
            leadership=self.leadership,
            is_busy=lambda: self.engine.job_counter > 0,
            read_numbers=self._shared.read,
        )
        self._upkeep.begin(duties)
        self._upkeep.begin({"uses": (USES_S, self.leadership.led(self.gate.known.forget_uses))})
        self._upkeep.begin({"events": (EVENTS_S, self.leadership.led(self._tell_owed))})
        self._upkeep.begin({"recurring": (RECURRING_S, self.leadership.led(self.recurring.tick))})
        slots, database = self._settings.max_jobs, self._settings.shown_database
        log.info("worker.started", worker=self.worker_id, slots=slots, database=database)

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
        self._build(queue, publishers, WorkerMetrics(shared.tally, self._catalogue))
        stack.push_async_callback(self.book.close)
        stack.push_async_callback(self.trials.close)
        stack.push_async_callback(self.look_ups.close)
        return queue

    def _build(self, queue: TaskQueue, publishers: Mapping[str, Publisher], metrics: WorkerMetrics) -> None:
        settings, clock, store = self._settings, self._clock, self.store

        if self._tracing is not None:
            from everpost_workers.attempts.traced import TracedAttempts  # noqa: PLC0415 - most workers make no traces

            self._traced = TracedAttempts(self._tracing, store.traces, self.worker_id)

        def may_be_out(odd: OddFacts) -> bool:
            return may_be_sent(odd.attempts, odd.sending, class_of(odd.platform, self._catalogue, publishers))

        self.leadership = Leadership(store.meta, self.worker_id, lambda: not queue.server.is_away)
        self.relay = Relay(store, queue, clock, renewal_s=1.5 * LONGEST_ROUND_S, may_be_sent=may_be_out)
        self.recurring = RecurringPosts(
            store,
            queue,
            self._catalogue,
            AccountZones(self._catalogue, settings.zone, zones_in(store.accounts)),
            clock,
            worker_id=self.worker_id,
            count=metrics.count_accepted,
        )
        self.recent = RecentEnds(store, queue.events) if is_postgresql(settings.database_address) else None
        self.ends = EndRecorder(store, metrics, worker_id=self.worker_id, recent=self.recent, enqueuer=queue.enqueuer)
        self.leftovers = Leftovers(self.ends, LeftoverFiles(settings.database_path), queue.events)
        self.gate = Gate(store, queue, clock, self._catalogue, settings.zone)
        self.starts = Starts(queue.events)
        self.admission = Admission(
            store,
            self.relay,
            clock,
            self._catalogue,
            publishers,
            metrics,
            settings.max_body,
            self.gate,
            take_in_leftovers=self.leftovers.take_in,
            traced=self._traced,
        )
        self.board = ProgressBoard(queue.progress, clock)
        self.book = AccountBook(store, settings, clock, worker_id=self.worker_id)
        self.trials = AccountTrials(self.book, store, self._catalogue, publishers, clock, self.worker_id)
        self.look_ups = AskedLookUps(store, settings, self._catalogue, publishers, self.book, clock, self.worker_id)
        self.runner = AttemptRunner(
            publishers,
            self._catalogue,
            store,
            settings,
            clock,
            metrics,
            boot_clock=self._boot_clock,
            worker_id=self.worker_id,
            board=self.board,
            book=self.book,
            isolation=self._isolation,
            close_lane=self.gate.close_lane,
            traced=self._traced,
        )

    async def _announce_needs(self) -> None:
        """Tell the API which publishers need registered accounts. If the store is read-only, the tasks fail later."""
        needed = [name for name, publisher in self._publishers.items() if publisher.needs_account]
        with suppress(ServiceError):
            await announce_needs(self.store.meta, needed)

    async def _look_for_changes(self) -> None:
        """Tell the parts that know limits and accounts when these have changed: one read for all of them."""
        values = await self.store.meta.get_all(WATCHED)
        self.gate.notice(values)
        self.trials.notice(values.get(ACCOUNTS))
        self.look_ups.notice(values)

    async def _look_for_strangers(self, queue: TaskQueue) -> None:
        """Tell if other workers on this Redis use another database: a misconfiguration that loses outcomes.

        The own database may have no identity yet, and be read-only for a while.
        """
        with suppress(ServiceError):
            self._database_id = await identity_of(self.store.meta)
            if strangers := with_other_database(await queue.workers.living(), self._database_id):
                log.error("worker.databases_differ", worker=self.worker_id, others=strangers)

    async def _tell_owed(self) -> None:
        """Tell readers of events what others owed them when they died, or that they have missed something."""
        debt = await self.store.meta.get(EVENTS_DEBT)
        if debt:
            await self._queue.events.break_off()
            await self.store.meta.replace(EVENTS_DEBT, debt, "")
        await self._queue.events.tell_owed()

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
            "leads": self.leadership.leads,
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
            if self._traced is None:
                return await self.runner.publish(state, publish_arguments(args, kwargs))
            queued_ms = max(round(ctx["enqueue_time"].timestamp() * 1_000), ctx["score"])
            with self._traced.attempt(state, queued_ms):
                return await self.runner.publish(state, publish_arguments(args, kwargs))
        finally:  # it refers to the job, and the job to the state: only the collector frees such a cycle
            state.holds_lease = holds_no_lease

    async def on_claim(self, claims: Sequence[ClaimedTask]) -> Mapping[str, ClaimAnswer]:
        """The claim hook."""
        answers = await self.admission.admit(claims)
        if self.engine.is_heard:
            runnable = (claim.job_id for claim in claims if claim.ends_as is None)
            self.starts.tell([task_id for task_id in runnable if task_id not in answers])
        return answers

    def on_released(self, claims: Sequence[ClaimedTask]) -> None:
        """The hook for jobs that this worker no longer holds."""
        self.gate.on_released(claims)

    async def on_leftovers(self, outcomes: Sequence[EndedTask]) -> None:
        """The hook for outcomes that could not be recorded before the worker had to end."""
        await self.leftovers.keep(outcomes)

    async def on_complete(self, outcomes: Sequence[EndedTask]) -> None:
        """The on-complete hook."""
        await self.ends.record(outcomes)
        await self.starts.wait()


def create_worker(
    settings: Settings,
    *,
    publishers: Overrides = MappingProxyType({}),
    clock: Clock | None = None,
    boot_clock: BootClock = system_boot_clock,
    handle_signals: bool = True,
    tracing: "Tracing | None" = None,
) -> BatchWorker:
    """A worker, ready for `run()`.

    A cell is a second start of this process's program. In a cell, this function does not return; it serves the worker
    that started the cell (see `isolation.py`).

    Args:
        publishers: Publishers by name, instead of the installed ones; for tests.
        clock: Used instead of the store's.
        handle_signals: The process belongs to the worker: signals stop it, and suspects run in cells.
        tracing: Makes spans of attempts; None makes none.

    Raises:
        SettingsError: A setting, the catalogue or a publisher's option is wrong.
    """
    watch_failpoints(settings.failpoints)
    _expect_failures()
    parts = PublishWorker(
        settings,
        publishers=publishers,
        clock=clock,
        boot_clock=boot_clock,
        owns_process=handle_signals,
        tracing=tracing,
    )
    parts.engine = BatchWorker(
        [func(parts.publish, name=FUNCTION)],
        queue_names=QUEUE_NAMES,
        on_startup=parts.start,
        on_shutdown=parts.stop,
        on_claim=parts.on_claim,
        on_complete=parts.on_complete,
        on_released=parts.on_released,
        elsewhere_index=PARKED,
        event_stream=EVENTS,
        on_leftovers=parts.on_leftovers,
        on_blocked=end_blocked_process if handle_signals else None,
        on_stopping=partial(end_process_in, process_budget_s(settings.shutdown_wait)) if handle_signals else None,
        on_wrong_type=set_aside,
        outages=(Unavailable,),
        clock=parts.now_ms,
        may_claim=parts.has_store,
        failpoint=failpoint,
        own_connections=True,
        serializer_like=serializer_like,
        blocked_s=settings.job_timeout + PUBLISHER_GRACE_S,
        result_index=RESULTS_KEY,
        slim_results=True,
        max_payload_bytes=max(LARGEST_PAYLOAD_BYTES, PAYLOAD_FACTOR * settings.max_body),
        lease=settings.lease,
        handle_signals=handle_signals,
        **_arq_settings(settings),
    )
    return parts.engine


def _arq_settings(settings: Settings) -> dict[str, Any]:
    """What arq's own worker takes too."""
    serializers: dict[str, Any] = {"job_serializer": serialize, "job_deserializer": deserialize}
    return {
        **serializers,
        "redis_pool": ArqRedis(connection_pool(settings.redis_address), **serializers),
        "max_jobs": settings.max_jobs,
        "max_tries": UNLIMITED_TRIES,
        "job_timeout": settings.job_timeout + PUBLISHER_GRACE_S,
        "job_completion_wait": round(settings.shutdown_wait),
        "keep_result": settings.result_ttl,
        "allow_abort_jobs": True,
        "log_results": False,
    }


def _expect_failures() -> None:
    """Keep tracebacks of failed posts out of the log: they are outcomes, and `task.completed` logs them."""
    engine_log = logging.getLogger("arq.worker")
    if _is_defect not in engine_log.filters:
        engine_log.addFilter(_is_defect)


def _is_defect(line: logging.LogRecord) -> bool:
    error = line.exc_info[1] if line.exc_info else None
    return not isinstance(error, PublishFailedError)
