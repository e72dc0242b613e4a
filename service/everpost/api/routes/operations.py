"""How far bulk work has come."""

from typing import Annotated

from litestar import get
from litestar.params import PathParameter, QueryParameter

from everpost.access import Right
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import needs
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, services_of
from everpost.errors import OperationNotFound
from everpost.views.bulk_answers import BulkReply, reply_of


@get(
    "/operations/{operation_id:str}",
    summary="Show bulk work",
    description="The progress of bulk work, and the skipped tasks by id, up to 1,000 per answer.",
    tags=["Bulk"],
    opt=needs(Right.READ, scoped=True),
    **documented(BulkReply, description="Its state.", refusals=("operation_not_found",)),
)
async def show_operation(
    request: ApiRequest,
    operation_id: Annotated[str, PathParameter(description="The `operation_id` of a bulk answer.")],
    after: Annotated[
        str, QueryParameter(max_length=128, description="The last id of the previous answer's `errors`.")
    ] = "",
) -> JsonAnswer:
    """Answer with the progress of an operation."""
    bulk = services_of(request).bulk
    if not operation_id.isalnum() or len(operation_id) > 64:  # noqa: PLR2004 - Everpost's ids are 32 hex digits
        raise OperationNotFound(operation_id[:64])
    return JsonAnswer(reply_of(await bulk.progress(operation_id, after)))
