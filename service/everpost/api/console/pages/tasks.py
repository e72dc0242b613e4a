"""The list of tasks: filters as an address, columns to choose, pages by cursor, and what can be done to many tasks."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from everpost.api.console.frame import render
from everpost.api.console.pages.task_filter import COLUMNS, WantedTasks, filter_of, platform_name, read_wanted
from everpost.api.http.hanging_up import while_client_waits
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import reached
from everpost.api.http.rights import caller_of
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import ServiceError
from everpost.store.history import Summary, TaskFilter
from everpost.task.model import ErrorClass, TaskStatus
from everpost.views.task_views import ShownPage

ROWS = 50
NOTHING = ShownPage((), 0, total_is_exact=True, next_cursor=None, lag_s=None)


async def show_tasks(request: ApiRequest) -> JsonAnswer:
    """Answer with the page. A filter that does not fit, or a search that takes too long, is said above the filter."""
    services = services_of(request)
    wanted = read_wanted(list(request.query_params.multi_items()))
    error: ServiceError | None = None
    page = NOTHING
    try:
        chosen = reached(request, filter_of(services, wanted.given))
        page = await while_client_waits(request, services.tasks.page(chosen, wanted.cursor, ROWS))
    except ServiceError as refused:
        error = refused
    summary = await services.store.history.summary(services.catalogue.name_of)
    return render(
        request,
        "tasks.html",
        status=HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        page=page,
        wanted=wanted,
        error=error,
        tabs=_tabs(services, wanted, None if caller_of(request).is_limited else summary),
        all_columns=COLUMNS,
        platforms=[platform.name for platform in services.catalogue],
        error_classes=[str(kind) for kind in ErrorClass],
        cause=await _cause(request, wanted.given),
    )


def _tabs(services: Services, wanted: WantedTasks, summary: Summary | None) -> list[tuple[str, int | None]]:
    """The statuses, the empty one for all, with numbers that follow the filter; None if they are not kept ready."""
    others = set(wanted.given) - {"status", "platform"}
    if others or summary is None:
        return [("", None), *((str(status), None) for status in TaskStatus)]
    counts = summary.by_status
    if platform := wanted.given.get("platform"):
        counts = summary.by_platform_and_status.get(platform_name(services, platform), {})
    return [("", sum(counts.values())), *((str(status), counts.get(status, 0)) for status in TaskStatus)]


async def _cause(request: ApiRequest, given: Mapping[str, Any]) -> str | None:
    """The words of the filter's cause: those of its newest failure."""
    cause = given.get("cause")
    if cause is None:
        return None
    found = await services_of(request).tasks.page(reached(request, TaskFilter(cause=cause)), None, 1)
    return found.rows[0].error_message if found.rows else None
