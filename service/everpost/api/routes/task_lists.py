"""GET /tasks: lists of tasks, with their counts."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from everpost.access import Right
from everpost.api.http.hanging_up import while_client_waits
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import is_reached, reached
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import Header, documented
from everpost.api.routes import filter_parameters as parameters
from everpost.api.routes.filter_parameters import word
from everpost.api.services import ApiRequest, services_of
from everpost.store.history import MAX_LIMIT, Summary, TaskFilter
from everpost.task.model import MAX_ID
from everpost.views.filter_request import FilterRequest, task_filter
from everpost.views.shown_tasks import IdMatch, TaskRow
from everpost.views.task_views import StatusCounts, of_platforms, status_counts

DEFAULT_LIMIT = 50
MAX_IDS = 100

REPLICA_LAG = Header(
    "Everpost-Replica-Lag",
    "A standby of PostgreSQL answered: the list may lack what happened during so many seconds before. Only with "
    "`EVERPOST_REPLICA_LAG`; the counts are always the primary's.",
    "0.250",
)

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="The most tasks in one answer.")]


class ListAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Some tasks, newest first.

    Attributes:
        total: How many match; a lower bound if not `total_is_exact`.
        summary: All tasks by status, whatever the filter.
        stats: All tasks by status and platform, whatever the filter.
        next_cursor: The `cursor` for the next page; null on the last page.
    """

    success: bool
    data: Sequence[TaskRow]
    total: int
    total_is_exact: bool
    summary: StatusCounts
    stats: Summary
    next_cursor: str | None


class IdsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks whose ids begin with the prefix: an exact match first, then the newest. `more`: there are others."""

    success: bool
    data: Sequence[IdMatch]
    more: bool


class LogsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that ended, the latest first."""

    success: bool
    data: Sequence[TaskRow]


@get(
    ["/tasks", "/tasks/list"],
    summary="List tasks",
    description="Tasks that are waiting, running or ended, newest first; every filter given must match. Archived "
    "tasks are not included.",
    tags=["Tasks"],
    opt=needs(Right.READ, scoped=True),
    **documented(
        ListAnswer, description="The tasks.", refusals=("unknown_platform", "search_timeout"), gives=(REPLICA_LAG,)
    ),
)
async def list_tasks(
    request: ApiRequest,
    status: parameters.Status = None,
    platform: parameters.Platform = None,
    account_id: parameters.Account = None,
    created_after: parameters.CreatedAfter = None,
    created_before: parameters.CreatedBefore = None,
    error_class: parameters.ClassOfError = None,
    cause: parameters.Cause = None,
    q: parameters.Words = None,
    batch_id: parameters.Batch = None,
    retry_of: parameters.RetryOf = None,
    submitted_by: parameters.SubmittedBy = None,
    cursor: Annotated[str | None, word("`next_cursor` of the previous answer.", 2_000)] = None,
    limit: Limit = DEFAULT_LIMIT,
) -> JsonAnswer:
    """List tasks."""
    services = services_of(request)
    filters = FilterRequest(
        status=status, platform=platform, account_id=account_id, error_class=error_class, cause=cause, q=q,
        batch_id=batch_id, created_after=created_after, created_before=created_before, retry_of=retry_of,
        submitted_by=submitted_by,
    )  # fmt: skip
    wanted = reached(request, task_filter(filters, services.catalogue, services.settings.zone))
    page, summary = await asyncio.gather(
        while_client_waits(request, services.tasks.page(wanted, cursor, limit)),
        services.store.history.summary(services.catalogue.name_of),
    )
    summary = of_platforms(summary, caller_of(request).platforms) if caller_of(request).is_limited else summary
    return JsonAnswer(
        ListAnswer(
            success=True,
            data=page.rows,
            total=page.total,
            total_is_exact=page.total_is_exact,
            summary=status_counts(summary),
            stats=summary,
            next_cursor=page.next_cursor,
        ),
        headers=_age(page.lag_s),
    )


def _age(lag_s: float | None) -> dict[str, str] | None:
    """The header that says how old an answer may be."""
    return None if lag_s is None else {REPLICA_LAG.name: f"{lag_s:.3f}"}


@get(
    "/tasks/ids",
    summary="Complete an id",
    description="The tasks whose ids begin with `prefix`, in all places, the archive included. Every other route "
    "takes whole ids: look a shortened one up here first, and ask if it has several. Ids begin with their time: those "
    "of one millisecond share their first 12 digits.",
    tags=["Tasks"],
    opt=needs(Right.READ, scoped=True),
    **documented(IdsAnswer, description="The tasks."),
)
async def complete_id(
    request: ApiRequest,
    prefix: Annotated[str, word("The beginning of an id.", MAX_ID)],
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_IDS, description="The most tasks in the answer.")] = 10,
) -> JsonAnswer:
    """List the ids that begin with a prefix."""
    found = await services_of(request).tasks.find_ids(prefix, limit + 1)
    found = [match for match in found if await is_reached(request, match.task_id)]
    return JsonAnswer(IdsAnswer(success=True, data=found[:limit], more=len(found) > limit))


@get(
    "/tasks/logs/recent",
    summary="Recent ends",
    description="The tasks that ended last, with their errors; the latest first.",
    tags=["Tasks"],
    opt=needs(Right.READ, scoped=True),
    **documented(LogsAnswer, description="The tasks.", refusals=("search_timeout",), gives=(REPLICA_LAG,)),
)
async def list_recent_ends(request: ApiRequest, limit: Limit = DEFAULT_LIMIT) -> JsonAnswer:
    """List the tasks that ended last."""
    rows, lag_s = await services_of(request).tasks.recent_ends(limit, reached(request, TaskFilter()))
    return JsonAnswer(LogsAnswer(success=True, data=rows), headers=_age(lag_s))
