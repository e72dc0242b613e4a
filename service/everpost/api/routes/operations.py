"""Bulk work: a list of it, how far it has come, and undoing it."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import PathParameter, QueryParameter

from everpost.access import Right
from everpost.actions.bulk import BulkKind
from everpost.api.http.audited import audited, note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import check_operation, reaches_operation
from everpost.api.http.rights import needs
from everpost.api.http.scoped_pages import page_within
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import Conflict, OperationNotFound
from everpost.store.operations import Operation, OperationStatus
from everpost.views.bulk_answers import BulkReply, ListedOperation, listed_operation, reply_of

MAX_OPERATIONS = 200

Before = Annotated[str | None, QueryParameter(max_length=256, description="`next_before` of the previous answer.")]


class OperationsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Bulk work, the newest first. `next_before` is the `before` of the next page; null on the last."""

    success: bool
    data: Sequence[ListedOperation]
    next_before: str | None


@get(
    "/operations",
    summary="List bulk work",
    description="Bulk requests of the last week, the newest first, with their progress. A key with a scope is shown "
    "those that were limited to it; an answer may then have fewer than `limit`, and not be the last.",
    tags=["Bulk"],
    opt=needs(Right.READ, scoped=True),
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
    found, following = await operations_within(request, before, limit)
    data = [listed_operation(one) for one in found]
    return JsonAnswer(OperationsAnswer(success=True, data=data, next_before=following))


async def operations_within(request: ApiRequest, before: str | None, limit: int) -> tuple[list[Operation], str | None]:
    """A page of the bulk work that the caller reaches, and the `before` of the next one."""
    return await page_within(
        services_of(request).store.operations.page,
        lambda one: one.operation_id,
        lambda one: reaches_operation(request, one),
        before,
        limit,
    )


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
    """How far the undoing has come.

    Attributes:
        brought_back: Of a removal: the tasks that this request has brought back into the history. Of a cancellation:
            those that were retried so far.
        is_whole: False if there are more. Repeat the request: it brings back more of a removal, and tells how far the
            undoing of a cancellation has come.
        operation_id: Of a cancellation: the bulk work that retries its tasks, which is the `batch_id` of the retries.
    """

    success: bool
    message: str
    brought_back: int
    is_whole: bool
    operation_id: str | None = None


@post(
    "/operations/{operation_id:str}/undo",
    summary="Undo a bulk removal or cancellation",
    description="Brings back the tasks that this bulk work has removed, at most 20,000 in one request; "
    "or retries the tasks that it has cancelled, each once, in the background if they are many. Tasks that were "
    "retried since, or are no longer cancelled (`task_not_cancelled`), are left out. However often it is asked for, a "
    "cancellation is undone once. A bulk retry is undone by cancelling the tasks with its id as `batch_id`.",
    tags=["Bulk"],
    opt=needs(Right.OPERATE, scoped=True),
    **documented(UndoAnswer, description="It is undone.", refusals=("operation_not_found", "conflict")),
)
@audited
async def undo_operation(
    request: ApiRequest,
    operation_id: Annotated[str, PathParameter(description="The `operation_id` of a bulk answer.")],
) -> JsonAnswer:
    """Bring the tasks of a bulk removal back, or retry those of a bulk cancellation."""
    return JsonAnswer(await undo_of(request, operation_id))


async def undo_of(request: ApiRequest, operation_id: str) -> UndoAnswer:
    """Undo bulk work, and note it for the audit.

    Raises:
        OperationNotFound: There is no such operation, or the caller's scope is less than the operation's.
        Conflict: It cannot be undone so, or goes on.
    """
    services = services_of(request)
    await check_operation(request, operation_id)
    found = await services.store.operations.find(operation_id)
    if found is None:
        raise OperationNotFound(operation_id[:64])
    if found[0].kind == BulkKind.CANCEL:
        answer = await services.bulk.undo_cancellation(found[0])
        note_of(request).about(operation_id, tasks=answer.total, undone_by=answer.operation_id)
        return UndoAnswer(
            success=True,
            message=reply_of(answer).message,
            brought_back=answer.succeeded,
            is_whole=answer.has_ended,
            operation_id=answer.operation_id,
        )
    count, is_whole = await undo_removal(services, found[0])
    note_of(request).about(operation_id, tasks=count)
    message = f"{count} tasks brought back" if is_whole else f"{count} tasks brought back; there are more"
    return UndoAnswer(success=True, message=message, brought_back=count, is_whole=is_whole)


async def undo_removal(services: Services, operation: Operation) -> tuple[int, bool]:
    """Bring the tasks back that an operation removed; how many, and whether these are all.

    Raises:
        Conflict: It did not remove tasks, or goes on.
    """
    if operation.kind != BulkKind.DELETE or operation.status is OperationStatus.RUNNING:
        raise Conflict(
            "Only bulk work that has removed or cancelled tasks, and has ended, can be undone.", operation.operation_id
        )
    return await services.removals.bring_back_removed(services.store.archive, operation)
