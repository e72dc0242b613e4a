"""Puts the parts of one worker together, once its store and queue are open."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from everpost.clock import BootClock, Clock
from everpost.database_address import is_postgresql
from everpost.platforms import Catalogue
from everpost.publishing import Publisher
from everpost.queue.task_queue import TaskQueue
from everpost.settings import Settings
from everpost.store import Store
from everpost.store.account_zones import AccountZones, zones_in
from everpost.store.relay import OddFacts
from everpost.task.earlier_attempts import may_be_sent
from everpost_workers.accounts.book import AccountBook
from everpost_workers.accounts.trials import AccountTrials
from everpost_workers.attempts.admission import Admission, class_of
from everpost_workers.attempts.asked_look_ups import AskedLookUps
from everpost_workers.attempts.progress import ProgressBoard
from everpost_workers.attempts.runner import AttemptRunner
from everpost_workers.attempts.starts import Starts
from everpost_workers.cells.isolation import Isolation
from everpost_workers.ends.leftovers import LeftoverFiles, Leftovers
from everpost_workers.ends.recent import RecentEnds
from everpost_workers.ends.recorder import EndRecorder
from everpost_workers.engine import LONGEST_ROUND_S
from everpost_workers.gates.gate import Gate
from everpost_workers.metrics import WorkerMetrics
from everpost_workers.upkeep.leadership import Leadership
from everpost_workers.upkeep.recurring import RecurringPosts
from everpost_workers.upkeep.relay import Relay

if TYPE_CHECKING:  # most workers make no traces
    from everpost.tracing.spans import Tracing
    from everpost_workers.attempts.traced import TracedAttempts


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts stand on: the settings, and what is open.

    Attributes:
        publishers: Opened, by platform name.
    """

    settings: Settings
    catalogue: Catalogue
    store: Store
    queue: TaskQueue
    publishers: Mapping[str, Publisher]
    metrics: WorkerMetrics
    clock: Clock
    boot_clock: BootClock
    isolation: Isolation
    worker_id: str
    tracing: "Tracing | None" = None


class WorkerParts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of one worker.

    Attributes:
        recent: What this worker ended lately; None if the store cannot lose commits.
        traced: None if traces are off.
    """

    leadership: Leadership
    relay: Relay
    recurring: RecurringPosts
    gate: Gate
    starts: Starts
    admission: Admission
    board: ProgressBoard
    book: AccountBook
    trials: AccountTrials
    look_ups: AskedLookUps
    runner: AttemptRunner
    ends: EndRecorder
    leftovers: Leftovers
    recent: RecentEnds | None
    traced: "TracedAttempts | None"


def assemble(ground: Ground) -> WorkerParts:
    """Build the parts; nothing runs yet."""
    settings, store, queue, clock, worker_id = (
        ground.settings, ground.store, ground.queue, ground.clock, ground.worker_id,
    )  # fmt: skip
    publishers, catalogue = ground.publishers, ground.catalogue
    recent = RecentEnds(store, queue.events) if is_postgresql(settings.database_address) else None
    ends = EndRecorder(store, ground.metrics, worker_id=worker_id, recent=recent, enqueuer=queue.enqueuer)
    leftovers = Leftovers(ends, LeftoverFiles(settings.database_path), queue.events)
    relay, gate, traced = _relay(ground), Gate(store, queue, clock, catalogue, settings.zone), _traced(ground)
    board = ProgressBoard(queue.progress, clock)
    book = AccountBook(store, settings, clock, worker_id=worker_id)
    return WorkerParts(
        leadership=Leadership(store.meta, worker_id, lambda: not queue.server.is_away),
        relay=relay,
        recurring=_recurring(ground),
        gate=gate,
        starts=Starts(queue.events),
        admission=_admission(ground, relay, gate, leftovers, traced),
        board=board,
        book=book,
        trials=AccountTrials(book, store, catalogue, publishers, clock, worker_id),
        look_ups=AskedLookUps(store, settings, catalogue, publishers, book, clock, worker_id),
        runner=_runner(ground, gate, board, book, traced),
        ends=ends,
        leftovers=leftovers,
        recent=recent,
        traced=traced,
    )


def _traced(ground: Ground) -> "TracedAttempts | None":
    if ground.tracing is None:
        return None
    from everpost_workers.attempts.traced import TracedAttempts  # noqa: PLC0415 - most workers make no traces

    return TracedAttempts(ground.tracing, ground.store.traces, ground.worker_id)


def _relay(ground: Ground) -> Relay:
    def may_be_out(odd: OddFacts) -> bool:
        return may_be_sent(odd.attempts, odd.sending, class_of(odd.platform, ground.catalogue, ground.publishers))

    return Relay(ground.store, ground.queue, ground.clock, renewal_s=1.5 * LONGEST_ROUND_S, may_be_sent=may_be_out)


def _recurring(ground: Ground) -> RecurringPosts:
    zones = AccountZones(ground.catalogue, ground.settings.zone, zones_in(ground.store.accounts))
    return RecurringPosts(
        ground.store,
        ground.queue,
        ground.catalogue,
        zones,
        ground.clock,
        worker_id=ground.worker_id,
        count=ground.metrics.count_accepted,
    )


def _admission(
    ground: Ground, relay: Relay, gate: Gate, leftovers: Leftovers, traced: "TracedAttempts | None"
) -> Admission:
    return Admission(
        ground.store,
        relay,
        ground.clock,
        ground.catalogue,
        ground.publishers,
        ground.metrics,
        ground.settings.max_body,
        gate,
        take_in_leftovers=leftovers.take_in,
        traced=traced,
    )


def _runner(
    ground: Ground, gate: Gate, board: ProgressBoard, book: AccountBook, traced: "TracedAttempts | None"
) -> AttemptRunner:
    return AttemptRunner(
        ground.publishers,
        ground.catalogue,
        ground.store,
        ground.settings,
        ground.clock,
        ground.metrics,
        boot_clock=ground.boot_clock,
        worker_id=ground.worker_id,
        board=board,
        book=book,
        isolation=ground.isolation,
        close_lane=gate.close_lane,
        traced=traced,
    )
