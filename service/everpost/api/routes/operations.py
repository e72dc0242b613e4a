"""How far bulk work has come."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import PathParameter, QueryParameter

from everpost.access import Right
from everpost.actions.bulk import BulkKind
from everpost.api.http.audited import audited, note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import check_operation
from everpost.api.http.rights import needs
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, Services, services_of
from everpost.clock import from_text
from everpost.errors import Conflict, OperationNotFound
from everpost.store.operations import OperationStatus
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
    await check_operation(request, operation_id)
    return JsonAnswer(reply_of(await bulk.progress(operation_id, after)))


class UndoAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks are back in the history; if `is_whole` is false, there are more: repeat the request."""

    success: bool
    message: str
    brought_back: int
    is_whole: bool


@post(
    "/operations/{operation_id:str}/undo",
    summary="Undo a bulk removal",
    description="Brings back the tasks that were deleted while this bulk work went on, at most 20,000 in one request. "
    "Other bulk work is undone otherwise: a retry by cancelling the tasks with its id as `batch_id`, a cancellation by "
    "retrying.",
    tags=["Bulk"],
    opt=needs(Right.OPERATE),
    **documented(UndoAnswer, description="The tasks are back.", refusals=("operation_not_found", "conflict")),
)
@audited
async def undo_operation(
    request: ApiRequest,
    operation_id: Annotated[str, PathParameter(description="The `operation_id` of a bulk answer.")],
) -> JsonAnswer:
    """Bring the tasks of a bulk removal back."""
    count, is_whole = await undo_removal(services_of(request), operation_id)
    note_of(request).about(operation_id, tasks=count)
    message = f"{count} tasks brought back" if is_whole else f"{count} tasks brought back; there are more"
    return JsonAnswer(UndoAnswer(success=True, message=message, brought_back=count, is_whole=is_whole))


async def undo_removal(services: Services, operation_id: str) -> tuple[int, bool]:
    """Bring the tasks back that were removed while an operation went on; how many, and whether these are all.

    Raises:
        OperationNotFound: There is no such operation.
        Conflict: It did not remove tasks, or goes on.
    """
    found = await services.store.operations.find(operation_id)
    if found is None:
        raise OperationNotFound(operation_id[:64])
    operation, _ = found
    if operation.kind != BulkKind.DELETE or operation.status is OperationStatus.RUNNING:
        raise Conflict("Only bulk work that has removed tasks, and has ended, can be undone.", operation_id)
    began_ms, ended_ms = from_text(operation.created_at) or 0, from_text(operation.updated_at) or 0
    return await services.removals.bring_back_removed(services.store.archive, began_ms, ended_ms)
