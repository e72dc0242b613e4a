"""GET /batches: tasks that were accepted together."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from everpost.access import Right
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import reach_of
from everpost.api.http.rights import caller_of, needs
from everpost.api.http.scoped_pages import page_within
from everpost.api.openapi.describe import documented
from everpost.api.routes.operations import Before
from everpost.api.services import ApiRequest, services_of
from everpost.store.batches import BatchSummary

MAX_BATCHES = 100


class BatchesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Batches, the newest first. `next_before` is the `before` of the next page; null on the last."""

    success: bool
    data: Sequence[BatchSummary]
    next_before: str | None


@get(
    "/batches",
    summary="List batches",
    description="The batches of tasks that are not archived, the newest first: fan-outs, posted batches, the "
    "occurrences of recurring posts, and the retries of bulk requests. Their tasks have the `batch_id`. A key with a "
    "scope is shown the tasks inside of it only; an answer may then have fewer than `limit`, and not be the last.",
    tags=["Tasks"],
    opt=needs(Right.READ, scoped=True),
    **documented(BatchesAnswer, description="The batches.", refusals=("search_timeout",)),
)
async def list_batches(
    request: ApiRequest,
    before: Before = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_BATCHES, description="The most batches in one answer.")] = 25,
) -> JsonAnswer:
    """List batches."""
    found, following = await batches_within(request, before, limit)
    return JsonAnswer(BatchesAnswer(success=True, data=found, next_before=following))


async def batches_within(request: ApiRequest, before: str | None, limit: int) -> tuple[list[BatchSummary], str | None]:
    """A page of the batches that have tasks which the caller reaches, and the `before` of the next one."""
    services = services_of(request)
    reach = reach_of(services, caller_of(request))

    async def ask(before: str | None, limit: int) -> list[BatchSummary]:
        return await services.store.batches.page(before, limit, reach)

    def is_kept(one: BatchSummary) -> bool:
        return reach is None or bool(one.counts)

    found, following = await page_within(ask, lambda one: one.batch_id, is_kept, before, limit)
    return [services.hiding.row(one) for one in found], following
