"""Lists of batches and of bulk work."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from everpost.access import Right
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import needs
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, services_of
from everpost.store.batches import BatchSummary
from everpost.views.bulk_answers import ListedOperation, listed_operation

MAX_BATCHES = 100
MAX_OPERATIONS = 200


class BatchesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Batches, the newest first. `next_before` is the `before` of the next page; null on the last."""

    success: bool
    data: Sequence[BatchSummary]
    next_before: str | None


class OperationsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Bulk work, the newest first. `next_before` is the `before` of the next page; null on the last."""

    success: bool
    data: Sequence[ListedOperation]
    next_before: str | None


Before = Annotated[str | None, QueryParameter(max_length=256, description="`next_before` of the previous answer.")]


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


@get(
    "/operations",
    summary="List bulk work",
    description="Bulk requests of the last week, the newest first, with their progress.",
    tags=["Bulk"],
    opt=needs(Right.READ),
    **documented(OperationsAnswer, description="The bulk work."),
)
async def list_operations(
    request: ApiRequest,
    before: Before = None,
    limit: Annotated[
        int, QueryParameter(ge=1, le=MAX_OPERATIONS, description="The most operations in one answer.")
    ] = 50,
) -> JsonAnswer:
    """List bulk work."""
    found = await services_of(request).store.operations.page(before, limit + 1)
    following = found[limit - 1].operation_id if len(found) > limit else None
    return JsonAnswer(
        OperationsAnswer(success=True, data=[listed_operation(one) for one in found[:limit]], next_before=following)
    )
