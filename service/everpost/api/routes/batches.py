"""GET /batches: tasks that were accepted together."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from everpost.access import Right
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import needs
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
    "occurrences of recurring posts, and the retries of bulk requests. Their tasks have the `batch_id`.",
    tags=["Tasks"],
    opt=needs(Right.READ),
    **documented(BatchesAnswer, description="The batches.", refusals=("search_timeout",)),
)
async def list_batches(
    request: ApiRequest,
    before: Before = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_BATCHES, description="The most batches in one answer.")] = 25,
) -> JsonAnswer:
    """List batches."""
    services = services_of(request)
    found = [services.hiding.row(one) for one in await services.store.batches.page(before, limit + 1)]
    following = found[limit - 1].batch_id if len(found) > limit else None
    return JsonAnswer(BatchesAnswer(success=True, data=found[:limit], next_before=following))
