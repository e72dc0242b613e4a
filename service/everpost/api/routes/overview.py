"""What an operator looks at first: failures by cause, and what ended when."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from everpost.access import Right
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, services_of
from everpost.store.failures import MAX_GROUPS
from everpost.views.ends_by_time import EndsByTime, Span, ends_by_time
from everpost.views.failure_groups import DEFAULT_SINCE, ShownFailures, failures_within, find_failures


class FailuresAnswer(ShownFailures, frozen=True, kw_only=True):
    """Failures grouped by cause, platform and account, the largest group first.

    Attributes:
        since: The beginning of the first slice.
        slice_s: The length of a slice of `trend` in seconds: 300, 3600 or 86400.
        total: How many tasks failed.
        groups: How many groups there are; `data` has the largest. Some may have failed shortly before `since` only.
        is_complete: False if there are so many groups that those of the earliest time may be missing.
    """

    success: bool = True


class TimelineAnswer(EndsByTime, frozen=True, kw_only=True):
    """What ended, by slices of `slice_s` seconds, the earliest first, and all together. The last slice is not over."""

    success: bool = True


@get(
    "/failures",
    summary="Group failures",
    description="Failed tasks grouped by the cause of their errors, platform and account. The cause is the error "
    "without what differs from task to task. To retry a group, give its `cause`, `platform` and `account_id` to "
    "`POST /tasks/batch/retry` as a `filter`. The numbers are kept ready, so this is cheap. A key with a scope is "
    "shown the groups inside of it, among the largest of all.",
    tags=["Tasks"],
    opt=needs(Right.READ, scoped=True),
    **documented(FailuresAnswer, description="The groups."),
)
async def list_failures(
    request: ApiRequest,
    since: Annotated[
        str,
        QueryParameter(
            max_length=64, description="A time, or a span up to now such as `90m`, `24h` or `7d`; at most 400 days."
        ),
    ] = DEFAULT_SINCE,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_GROUPS, description="The most groups in the answer.")] = 100,
) -> JsonAnswer:
    """Answer with the groups."""
    services, caller = services_of(request), caller_of(request)
    most = MAX_GROUPS if caller.is_limited else limit
    found = await find_failures(services.store.failures, since, services.clock(), services.settings.zone, most)
    if caller.is_limited:
        name_of = services.catalogue.name_of
        found = failures_within(found, lambda platform, account: caller.may_reach(name_of(platform), account), limit)
    return JsonAnswer(FailuresAnswer(**msgspec.structs.asdict(found)))


@get(
    "/tasks/timeline",
    summary="Show what ended when",
    description="The tasks that ended, by status, how long tasks waited for a worker, and how long attempts took, "
    "minute by minute for an hour, by quarters of an hour for a day, or by hours for a week. A worker counts them "
    "every 5 seconds, so the numbers are up to 5 seconds old; those of a worker that is killed may lack a second. "
    "Quantiles are estimates from the buckets of `/metrics`.",
    tags=["Tasks"],
    opt=needs(Right.READ),
    **documented(TimelineAnswer, description="The numbers."),
)
async def show_timeline(
    request: ApiRequest,
    span: Annotated[Span, QueryParameter(description="How far back.")] = Span.HOUR,
) -> JsonAnswer:
    """Answer with the timeline."""
    services = services_of(request)
    found = await ends_by_time(services.store.timeline, span, services.clock())
    return JsonAnswer(TimelineAnswer(**msgspec.structs.asdict(found)))
