"""Counts, queues, workers and platforms."""

import asyncio
from collections.abc import Sequence

import msgspec
from litestar import get

from everpost.access import Right
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, services_of
from everpost.limits import Limits
from everpost.media_rules import MediaRule
from everpost.store.history import Summary, TaskFilter
from everpost.text_lengths import Counting
from everpost.views.queue_health import QueueHealth, queue_health
from everpost.views.task_views import StatusCounts, of_platforms, status_counts

MINUTE_MS = 60_000


class StatsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of tasks by status and platform."""

    success: bool
    summary: StatusCounts
    stats: Summary


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the queue.

    Attributes:
        status: healthy; degraded if no worker is alive or Redis does not answer.
        queue: Null if Redis does not answer.
        accepted_last_minute: Tasks accepted in the last 60 seconds, counted up to 10,000.
    """

    success: bool
    status: str
    queue: QueueHealth | None
    summary: StatusCounts
    accepted_last_minute: int


class PlatformView(msgspec.Struct, frozen=True, kw_only=True):
    """A platform tasks can be published to. A limit of null means: no limit.

    Attributes:
        needs_account: Whether tasks must name a registered account, as the catalogue or the publisher says.
        limits: Those of the catalogue; `GET /limits` has those that hold.
    """

    id: int
    name: str
    title: str
    aliases: Sequence[str]
    publisher: str
    needs_account: bool
    max_attempts: int | None
    backoff_base_s: float
    backoff_max_s: float
    rate_limit_deadline_s: float
    late_after_s: float | None
    title_min: int
    title_max: int | None
    title_counting: Counting
    description_max: int | None
    description_counting: Counting
    text_max: int | None
    text_counting: Counting
    tags_max: int | None
    tag_max: int | None
    tags_total_max: int | None
    media: Sequence[MediaRule]
    media_min: int
    media_max: int | None
    fields: Sequence[str]
    duplicate_window_s: float | None
    duplicate_ignores: Sequence[str]
    limits: Limits
    account_limits: Limits


class PlatformsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The catalogue."""

    success: bool
    data: Sequence[PlatformView]


@get(
    "/tasks/stats",
    summary="Count tasks",
    description="How many tasks there are, by status and by platform. The numbers are kept ready, so this is cheap. "
    "For a key with a scope, they are those of the whole platforms in it.",
    tags=["Tasks"],
    opt=needs(Right.READ, scoped=True),
    **documented(StatsAnswer, description="The numbers."),
)
async def show_stats(request: ApiRequest) -> JsonAnswer:
    """Answer with the counts."""
    services = services_of(request)
    summary, caller = await services.store.history.summary(services.catalogue.name_of), caller_of(request)
    summary = of_platforms(summary, caller.platforms) if caller.is_limited else summary
    return JsonAnswer(StatsAnswer(success=True, summary=status_counts(summary), stats=summary))


@get(
    "/tasks/health",
    summary="Show the queue",
    description="Queue depth by priority, living workers, how many tasks were accepted during the last minute, "
    "and what due tasks wait for.",
    tags=["Tasks"],
    opt=needs(Right.READ),
    **documented(HealthAnswer, description="The state of the queue.", refusals=("search_timeout",)),
)
async def show_queue_health(request: ApiRequest) -> JsonAnswer:
    """Answer with the state of the queue."""
    services = services_of(request)
    last_minute = TaskFilter(created_after_ms=services.clock() - MINUTE_MS)
    limits, summary, accepted = await asyncio.gather(
        services.limits.show(),
        services.store.history.summary(services.catalogue.name_of),
        services.store.history.total(last_minute),
    )
    queue = await queue_health(services.queue, limits)
    healthy = queue is not None and queue.workers
    return JsonAnswer(
        HealthAnswer(
            success=True,
            status="healthy" if healthy else "degraded",
            queue=queue,
            summary=status_counts(summary),
            accepted_last_minute=accepted.total,
        )
    )


@get(
    "/platforms",
    summary="List platforms",
    description="The platforms tasks can be published to, with their limits.",
    tags=["Publishing"],
    opt=needs(Right.READ, scoped=True),
    **documented(PlatformsAnswer, description="The catalogue."),
)
async def list_platforms(request: ApiRequest) -> JsonAnswer:
    """Answer with the catalogue."""
    services = services_of(request)
    need = services.accounts.directory.need
    described = [platform.describe() | {"needs_account": need(platform)} for platform in services.catalogue]
    platforms = [PlatformView(**facts) for facts in described]
    return JsonAnswer(PlatformsAnswer(success=True, data=platforms))
