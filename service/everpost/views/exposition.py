"""The metrics as Prometheus text. Each answered request is counted; the rest is looked up on each scrape."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from platform import python_version

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from everpost.actions.limits import LimitChanges, ShownLimits
from everpost.errors import QueueUnreachable
from everpost.metrics import COUNTERS, HISTOGRAMS, SUM, Counter, Field, Histogram
from everpost.platforms import Catalogue
from everpost.queue.shared_metrics import SharedMetrics
from everpost.queue.task_queue import TaskQueue
from everpost.release import running_version
from everpost.store import Store
from everpost.store.account_directory import AccountDirectory
from everpost.store.history import Summary
from everpost.store.pause import find_pause
from everpost.views.events.feed import Feed
from everpost.views.parked_tasks import parked_counts
from everpost.views.queue_health import QueueHealth, queue_health
from everpost.views.request_counts import BOUNDS_S, Answered, AnsweredRequests

MEDIA_TYPE = CONTENT_TYPE_LATEST
HTTP_BUCKETS = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")


class Snapshot:
    """The metrics of one moment, in the form prometheus_client collects."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        yield from self._metrics


async def metrics_text(
    store: Store,
    queue: TaskQueue,
    catalogue: Catalogue,
    shared: SharedMetrics,
    requests: AnsweredRequests,
    accounts: AccountDirectory,
    limits: LimitChanges,
    feed: Feed,
) -> bytes:
    """All metrics of this moment."""
    shown, summary, pause, numbers = await asyncio.gather(
        limits.show(), store.history.summary(catalogue.name_of), find_pause(store.meta), _numbers(shared)
    )
    redis = await queue_health(queue, shown)
    log_bytes = store.care.state().log_bytes
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        Snapshot(
            [
                *task_metrics(summary),
                *queue_metrics(redis),
                *worked_metrics(numbers),
                account_metric(accounts),
                *parked_metric(shown, catalogue),
                GaugeMetricFamily("everpost_database_log_bytes", "Length of the write-ahead log.", value=log_bytes),
                GaugeMetricFamily("everpost_dispatch_paused", "A backup was restored.", value=pause is not None),
                *request_metrics(requests),
                *event_metrics(feed),
                build_metric(redis),
            ]
        )
    )
    return generate_latest(registry)


def task_metrics(summary: Summary) -> Iterator[Metric]:
    """Tasks in ledger and history."""
    tasks = GaugeMetricFamily("everpost_tasks", "Tasks in ledger and history.", labels=["platform", "status"])
    for platform, by_status in summary.by_platform_and_status.items():
        for status, count in by_status.items():
            tasks.add_metric([platform, status], count)
    yield tasks


def account_metric(accounts: AccountDirectory) -> Metric:
    """Registered accounts, as this process knows them: at most a second old."""
    family = GaugeMetricFamily("everpost_accounts", "Registered accounts.", labels=["platform", "status"])
    for (platform, status), number in sorted(accounts.count().items()):
        family.add_metric([platform, status], number)
    return family


def parked_metric(shown: ShownLimits, catalogue: Catalogue) -> Iterator[Metric]:
    """Due tasks that wait for a limit or a hold; none if Redis does not answer."""
    if shown.parked is None:
        return
    family = GaugeMetricFamily(
        "everpost_parked_tasks", "Due tasks that wait for a limit, a pause or a hold.", labels=["platform", "kind"]
    )
    names = {platform.name for platform in catalogue}
    for (platform, kind), number in sorted(parked_counts(shown, names).items()):
        family.add_metric([platform, kind], number)
    yield family


def queue_metrics(queue: QueueHealth | None) -> Iterator[Metric]:
    """The metrics from Redis; if it does not answer, only that."""
    yield GaugeMetricFamily("everpost_redis_up", "Whether Redis answers.", value=queue is not None)
    if queue is None:
        return
    depth = GaugeMetricFamily("everpost_queue_jobs", "Jobs in the queues.", labels=["priority", "due"])
    for priority, jobs in queue.depths.items():
        depth.add_metric([str(priority), "now"], jobs.ready)
        depth.add_metric([str(priority), "later"], jobs.later)
    yield depth
    memory = queue.memory
    yield GaugeMetricFamily("everpost_redis_memory_bytes", "Memory that Redis uses.", value=memory.used_bytes)
    yield GaugeMetricFamily(
        "everpost_redis_memory_limit_bytes", "The maxmemory of Redis; 0 means no limit.", value=memory.max_bytes
    )
    yield GaugeMetricFamily("everpost_workers", "Living workers.", value=len(queue.workers))
    leaders = sum(bool(worker.get("leads")) for worker in queue.workers)
    yield GaugeMetricFamily("everpost_upkeep_leaders", "Workers that lead the upkeep; 1 is right.", value=leaders)
    for name, field in (("slots", "slots"), ("running_tasks", "running")):
        total = sum(int(worker.get(field, 0)) for worker in queue.workers)
        yield GaugeMetricFamily(f"everpost_worker_{name}", f"{field.title()} of all workers.", value=total)


def worked_metrics(numbers: Mapping[Field, int]) -> Iterator[Metric]:
    """The counts of all processes; see `service/everpost/metrics.py`."""
    by_name: dict[str, dict[Field, int]] = {}
    for (name, *rest), number in numbers.items():
        by_name.setdefault(name, {})[tuple(rest)] = number
    for counter in COUNTERS:
        yield _counter_family(counter, by_name.get(counter.name, {}))
    for histogram in HISTOGRAMS:
        yield _histogram_family(histogram, by_name.get(histogram.name, {}))


def _counter_family(counter: Counter, numbers: Mapping[Field, int]) -> Metric:
    family = CounterMetricFamily(counter.name, counter.help, labels=counter.labels)
    for values, number in sorted(numbers.items()):
        family.add_metric(values, number)
    return family


def _histogram_family(histogram: Histogram, numbers: Mapping[Field, int]) -> Metric:
    family = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.labels)
    for values in sorted({field[:-1] for field in numbers}):
        counts = [numbers.get((*values, bucket), 0) for bucket in histogram.buckets]
        family.add_metric(values, _cumulative(histogram.buckets, counts), numbers.get((*values, SUM), 0) / 1e6)
    return family


def _cumulative(buckets: Sequence[str], counts: Iterable[int]) -> list[tuple[str, float]]:
    """Each bucket with the count of its own and all lower buckets, as Prometheus defines it."""
    return list(zip(buckets, accumulate(counts), strict=True))


def request_metrics(requests: AnsweredRequests) -> Iterator[Metric]:
    """The requests this process has answered."""
    counts = CounterMetricFamily(
        "everpost_http_requests", "Requests answered by this process.", labels=["method", "route", "status"]
    )
    by_route: dict[tuple[str, str], list[Answered]] = {}
    for (method, route, status), answered in requests.items():
        counts.add_metric([method, route, str(status)], answered.count)
        by_route.setdefault((method, route), []).append(answered)
    yield counts
    durations = HistogramMetricFamily(
        "everpost_http_request_duration_seconds",
        "From a request's head to its answer's head, ?wait= included.",
        labels=["method", "route"],
    )
    for route_key, group in by_route.items():
        buckets = map(sum, zip(*(answered.buckets for answered in group), strict=True))
        durations.add_metric(route_key, _cumulative(HTTP_BUCKETS, buckets), sum(answered.seconds for answered in group))
    yield durations


def event_metrics(feed: Feed) -> Iterator[Metric]:
    """The streams of events of this process."""
    yield GaugeMetricFamily("everpost_event_readers", "Clients that follow events.", value=len(feed.readers))
    yield CounterMetricFamily("everpost_event_writes", "Times that a client was sent events.", value=feed.sent)
    yield CounterMetricFamily(
        "everpost_event_readers_dropped", "Clients that were disconnected because they read too slowly.", feed.dropped
    )
    yield CounterMetricFamily(
        "everpost_event_resets", "Clients that were told that they may have missed events.", value=feed.resets
    )
    yield GaugeMetricFamily(
        "everpost_event_lag_seconds", "Age of the last events when they were sent.", value=feed.lag_s
    )


def build_metric(queue: QueueHealth | None) -> Metric:
    """The running versions: this API's, and each version of the living workers."""
    builds = GaugeMetricFamily(
        "everpost_build_info", "1 for each running version.", labels=["process", "version", "python"]
    )
    builds.add_metric(["api", running_version(), python_version()], 1)
    workers = queue.workers if queue is not None else ()
    for build in sorted({(str(facts.get("version", "")), str(facts.get("python", ""))) for facts in workers}):
        builds.add_metric(["worker", *build], 1)
    return builds


async def _numbers(metrics: SharedMetrics) -> Mapping[Field, int]:
    try:
        return await metrics.read()
    except QueueUnreachable:
        return {}
