"""GET /metrics."""

from litestar import get
from litestar.response.base import ASGIResponse

from everpost.access import Right
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import needs
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, services_of


@get(
    "/metrics",
    summary="Metrics",
    description="Tasks by status and platform; tasks accepted and ended, and attempts, as counters that never shrink; "
    "queue waits, publish times and the times of requests as histograms; queue depth by priority, tasks that wait for "
    "limits and holds, workers and slots.",
    tags=["Health"],
    opt=needs(Right.READ),
    **documented(str, description="Prometheus text.", media_type="text/plain"),
)
async def show_metrics(request: ApiRequest) -> ASGIResponse:
    """Answer with the metrics of this moment."""
    from everpost.views.exposition import MEDIA_TYPE, metrics_text  # noqa: PLC0415 - prometheus_client takes 0.9 MB

    services = services_of(request)
    text = await metrics_text(
        services.store,
        services.queue,
        services.catalogue,
        services.metrics,
        request.app.state.answered,
        services.accounts.directory,
        services.limits,
        services.feed,
    )
    return JsonAnswer(text, media_type=MEDIA_TYPE)
