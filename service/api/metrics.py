"""GET /metrics: Prometheus text. Requests are counted as they are answered; everything else is looked up when asked."""

from collections import Counter
from collections.abc import Iterable, Iterator

from litestar import get
from litestar.response.base import ASGIResponse
from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from service.api.answers import JsonAnswer
from service.api.schema import documented
from service.api.services import ApiRequest, services_of
from service.api.stats import QueueHealth, queue_health
from service.store.listing import Summary

Answered = Counter[tuple[str, str, int]]


class Snapshot:
    """The metrics of one moment, in the form prometheus_client collects."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        yield from self._metrics


@get(
    "/metrics",
    summary="Metrics",
    description="Tasks by status and platform, queue depth by priority, workers, slots, and answered requests.",
    tags=["Health"],
    **documented(str, description="Prometheus text.", media_type="text/plain"),
)
async def show_metrics(request: ApiRequest) -> ASGIResponse:
    """Answer with the metrics of this moment."""
    services = services_of(request)
    queue = await queue_health(services)
    summary = await services.listing.summary()
    pause = await services.pauses.find()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        Snapshot(
            [
                *task_metrics(summary),
                *queue_metrics(queue),
                GaugeMetricFamily("everpost_dispatch_paused", "A backup was restored.", value=pause is not None),
                request_metric(request.app.state.answered),
            ]
        )
    )
    return JsonAnswer(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def task_metrics(summary: Summary) -> Iterator[Metric]:
    """Tasks in ledger and history."""
    tasks = GaugeMetricFamily("everpost_tasks", "Tasks in ledger and history.", labels=["platform", "status"])
    for platform, by_status in summary.by_platform_and_status.items():
        for status, count in by_status.items():
            tasks.add_metric([platform, status], count)
    yield tasks


def queue_metrics(queue: QueueHealth | None) -> Iterator[Metric]:
    """What Redis says; only that it is down if it says nothing."""
    yield GaugeMetricFamily("everpost_redis_up", "Whether Redis answers.", value=queue is not None)
    if queue is None:
        return
    depth = GaugeMetricFamily("everpost_queue_jobs", "Jobs in the queues.", labels=["priority", "due"])
    for priority, jobs in queue.depths.items():
        depth.add_metric([str(priority), "now"], jobs.ready)
        depth.add_metric([str(priority), "later"], jobs.later)
    yield depth
    yield GaugeMetricFamily("everpost_workers", "Living workers.", value=len(queue.workers))
    for name, field in (("slots", "slots"), ("running_tasks", "running")):
        total = sum(int(worker.get(field, 0)) for worker in queue.workers)
        yield GaugeMetricFamily(f"everpost_worker_{name}", f"{field.title()} of all workers.", value=total)


def request_metric(answered: Answered) -> Metric:
    """Answered requests of this process."""
    requests = CounterMetricFamily(
        "everpost_http_requests", "Requests answered by this process.", labels=["method", "route", "status"]
    )
    for (method, route, status), count in answered.items():
        requests.add_metric([method, route, str(status)], count)
    return requests
