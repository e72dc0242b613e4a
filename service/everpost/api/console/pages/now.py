"""The first page: what waits, runs and failed, who works on what, and what is held."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from everpost.actions.limits import ShownScope
from everpost.api.console.frame import render, texts_for
from everpost.api.console.pages.charts import ends_chart, times_chart
from everpost.api.console.pages.first_task import first_platform, first_task
from everpost.api.console.shared import share
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import reached
from everpost.api.http.rights import caller_of
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import InvalidValue, QueueUnreachable
from everpost.limits import EVERYTHING, named_in
from everpost.store.failures import MAX_GROUPS
from everpost.store.history import TaskFilter
from everpost.store.pause import Pause, find_pause
from everpost.task.place import Place
from everpost.views.ends_by_time import Span, ends_by_time
from everpost.views.failure_groups import ShownFailures, failures_within, find_failures
from everpost.views.queue_health import QueueHealth, queue_health
from everpost.views.shown_tasks import TaskRow
from everpost.views.task_views import StatusCounts, status_counts

FACTS_S = 0.5  # how old the page may be
FAILURES_S = 2.0  # how old its failures may be
CHARTS_S = 5.0  # a worker counts ends so often
FAILURES = "24h"
GROUPS = 12
LATE_MS = 60_000  # a due task that waits for a worker for so long is late
RECENT = 12
MOST_DOING = 100  # tasks of all workers


class NowFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows.

    Attributes:
        counts: All tasks by status.
        queue: None if Redis does not answer.
        oldest_ms: For how long the oldest due task has been waiting for a worker.
        scopes: Those with a hold, or with tasks that wait for them.
        pause: The pause of dispatch since a restore.
        doing: The tasks that workers say they run, by id.
        recent: The tasks that ended last.
        is_whole: False for a caller with a scope, who is shown what it reaches.
    """

    counts: StatusCounts
    queue: QueueHealth | None
    oldest_ms: int
    scopes: Sequence[ShownScope]
    pause: Pause | None
    doing: Mapping[str, TaskRow]
    recent: Sequence[TaskRow]
    is_whole: bool = True

    @property
    def waiting(self) -> int:
        """The due tasks that have not begun, those that wait for a limit or a hold included."""
        if self.queue is None or not self.is_whole:
            return self.counts.pending + self.counts.retry
        ready = sum(depth.ready for depth in self.queue.depths.values())  # with those that run
        return max(0, ready - self.running) + self.queue.parked

    @property
    def is_late(self) -> bool:
        """Whether a due task has been waiting for a worker for long."""
        return self.oldest_ms > LATE_MS

    @property
    def running(self) -> int:
        """The attempts that workers say they run."""
        if not self.is_whole:
            return len(self.doing)
        return 0 if self.queue is None else sum(worker.get("running", 0) for worker in self.queue.workers)

    @property
    def trouble(self) -> str | None:
        """The worst thing that a person should know, by the name of its text."""
        if self.queue is None:
            return "redis_away"
        if self.pause is not None:
            return "dispatch_paused"
        if not any(worker.get("consuming") for worker in self.queue.workers):
            return "no_worker"
        if any(scope.scope == "*" and scope.hold for scope in self.scopes):
            return "all_paused"
        return None


async def show_now(request: ApiRequest) -> JsonAnswer:
    """Answer with the page."""
    services, span = services_of(request), _span_of(request)
    is_limited = caller_of(request).is_limited
    facts, failures, ends = await asyncio.gather(
        share(request, "now", FACTS_S, lambda: find_facts(services)),
        _failures(request, MAX_GROUPS if is_limited else GROUPS),
        share(request, f"ends {span}", CHARTS_S, lambda: ends_by_time(services.store.timeline, span, services.clock())),
    )
    if is_limited:
        facts, failures = await _within_reach(request, facts), _failures_within_reach(request, failures)
    texts, is_empty = texts_for(request), not facts.counts.total
    return render(
        request,
        "now.html",
        facts=facts,
        failures=failures,
        window=span,
        ends=ends_chart(texts, ends),
        times={name: times_chart(texts, ends, name) for name in ("wait", "publish")},
        is_empty=is_empty,
        **_first_steps(request) if is_empty else {},
    )


def _span_of(request: ApiRequest) -> Span:
    try:
        return Span(request.query_params.get("span", Span.HOUR))
    except ValueError:
        raise InvalidValue("The span is hour, day or week.", "?span") from None


def _first_steps(request: ApiRequest) -> dict[str, Any]:
    """What teaches the first request. The origin is right without a proxy; the script puts in the browser's."""
    services = services_of(request)
    platform = first_platform(services)
    body = first_task(platform) if platform else {"platform": 1, "account_id": "account", "title": "My first post"}
    return {
        "origin": str(request.base_url),
        "with_token": services.settings.token is not None,
        "first_body": msgspec.json.encode(body).decode(),
        "can_try": platform is not None,
    }


async def find_facts(services: Services) -> NowFacts:
    """Ask for all that the page shows, at the same time."""
    store = services.store
    summary, limits, pause, oldest_ms, (recent, _) = await asyncio.gather(
        store.history.summary(services.catalogue.name_of),
        services.limits.show(),
        find_pause(store.meta),
        _oldest_ms(services),
        services.tasks.recent_ends(RECENT),
    )
    queue = await queue_health(services.queue, limits)
    return NowFacts(
        counts=status_counts(summary),
        queue=queue,
        oldest_ms=oldest_ms,
        scopes=[scope for scope in limits.scopes if scope.hold or (scope.use and scope.use.waiting)],
        pause=pause,
        doing=await _doing(services, [] if queue is None else queue.workers),
        recent=recent,
    )


async def _failures(request: ApiRequest, groups: int) -> ShownFailures:
    """Those of the last day, grouped by cause: the largest groups. All viewers share them for `FAILURES_S`."""
    services = services_of(request)

    async def ask() -> ShownFailures:
        return await find_failures(services.store.failures, FAILURES, services.clock(), services.settings.zone, groups)

    return await share(request, f"failures {groups}", FAILURES_S, ask)


def _failures_within_reach(request: ApiRequest, failures: ShownFailures) -> ShownFailures:
    caller, name_of = caller_of(request), services_of(request).catalogue.name_of
    return failures_within(failures, lambda platform, account: caller.may_reach(name_of(platform), account), GROUPS)


async def _within_reach(request: ApiRequest, facts: NowFacts) -> NowFacts:
    """What a caller with a scope is shown: numbers of the whole service are left out."""
    services, caller = services_of(request), caller_of(request)
    wanted = reached(request, TaskFilter())
    counts, recent = await share(request, f"now {wanted.reach}", FACTS_S, lambda: _tasks_of(services, wanted))
    name_of = services.catalogue.name_of
    return msgspec.structs.replace(
        facts,
        counts=counts,
        oldest_ms=0,
        scopes=[one for one in facts.scopes if one.scope == EVERYTHING or caller.may_reach(*named_in(one.scope))],
        doing={
            task_id: row
            for task_id, row in facts.doing.items()
            if caller.may_reach(name_of(row.platform or ""), row.account_id)
        },
        recent=recent,
        is_whole=False,
    )


async def _tasks_of(services: Services, wanted: TaskFilter) -> tuple[StatusCounts, Sequence[TaskRow]]:
    """How many tasks match by status, each counted up to a bound, and those that ended last."""
    names = [name for name in StatusCounts.__struct_fields__ if name != "total"]
    filters = [msgspec.structs.replace(wanted, status=name) for name in names]
    totals, recent = await asyncio.gather(
        asyncio.gather(*(services.store.history.total(each) for each in filters)),
        services.tasks.page(msgspec.structs.replace(wanted, place=Place.HISTORY), None, RECENT),
    )
    counts = {name: found.total for name, found in zip(names, totals, strict=True)}
    return StatusCounts(**counts, total=sum(counts.values())), recent.rows


async def _oldest_ms(services: Services) -> int:
    try:
        return await services.queue.jobs.longest_wait_ms()
    except QueueUnreachable:
        return 0


async def _doing(services: Services, workers: Sequence[Mapping[str, Any]]) -> dict[str, TaskRow]:
    """The tasks that the workers say they run. Reports may be a second old."""
    ids = tuple(str(task_id) for worker in workers for task_id in worker.get("doing", ()))[:MOST_DOING]
    if not ids:
        return {}
    page = await services.tasks.page(TaskFilter(task_ids=ids), None, MOST_DOING)
    return {row.task_id: row for row in page.rows}
