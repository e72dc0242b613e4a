"""Bulk work over HTTP: retry, cancel and delete many tasks, and show the progress."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import PathParameter, QueryParameter
from msgspec import Meta

from everpost.actions.bulk import BulkAnswer, BulkKind, BulkRequest
from everpost.api.http.bodies import read_object
from everpost.api.http.hanging_up import while_client_waits
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.openapi.describe import Body, Header, documented, meaning_of_codes
from everpost.api.services import ApiRequest, services_of
from everpost.errors import InvalidValue, OperationNotFound
from everpost.store.operations import OperationStatus
from everpost.views.filter_request import FilterRequest, task_filter

Id = Annotated[str, Meta(min_length=1, max_length=128)]

REASONS: Mapping[str, str] = MappingProxyType(
    {
        **meaning_of_codes(),
        "retry_exists": "A retry of it exists and has not ended.",
        "superseded": "It was retried before; retry its newest retry instead.",
        "task_unfinished": "It has not ended; cancel it first.",
        "task_archived": "It is in the archive.",
    }
)
"""The meaning of the codes of skipped tasks."""

IDS = ["019b76da3f007c8e9d2b4f6a8c0e1d3f", "019b76da3f017c8e9d2b4f6a8c0e1d40"]
FILTER = {"status": "failed", "platform": 1, "created_after": "2026-01-01"}
EXAMPLES = {
    "By ids": {"task_ids": IDS},
    "By filter": {"filter": FILTER},
    "The ids that match": {"task_ids": IDS, "filter": FILTER, "dry_run": True},
}
LOCATION = Header(
    "Location", "The address of the operation's progress.", "/api/v1/operations/019b76da3f007c8e9d2b4f6a8c0e1d3f"
)


class BulkBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tasks to change: those with these ids, those that match the filter, or with both, the ids that match."""

    task_ids: list[Id] | None = None
    filter: FilterRequest | None = None
    dry_run: Annotated[bool, Meta(description="Change nothing, and answer what would be done.")] = False
    force: Annotated[bool, Meta(description="Retry published tasks too; cancel running tasks too.")] = False


class PassedOver(msgspec.Struct, frozen=True, omit_defaults=True):
    """A skipped task, and the reason."""

    task_id: str
    code: str
    detail: str
    other_task_id: str | None = None


class BulkReply(msgspec.Struct, frozen=True, kw_only=True):
    """The result of bulk work, or its progress.

    Attributes:
        status: `running` means that it continues in the background; its progress is at /operations/{operation_id}.
        operation_id: The `batch_id` of all retries it makes; null for a dry run.
        done: How many tasks were checked; a dry run stops at about ten thousand.
        new_task_ids: The new tasks of a retry; for a retry in the background, find them by `batch_id`.
        retries: The new task of each task.
        errors: The skipped tasks.
    """

    success: bool
    message: str
    operation_id: str | None
    kind: BulkKind
    status: OperationStatus
    dry_run: bool
    total: int
    done: int
    success_count: int
    failed_count: int
    succeeded: int
    new_task_ids: Sequence[str]
    retries: Mapping[str, str]
    errors: Sequence[PassedOver]


def reply_of(answer: BulkAnswer, errors: Sequence[PassedOver] | None = None) -> BulkReply:
    """The result of bulk work in the form of answers."""
    if errors is None:
        errors = [passed_over(skip.task_id, skip.reason, skip.other_task_id) for skip in answer.skipped]
    status = OperationStatus.RUNNING if not answer.finished else OperationStatus.DONE
    return BulkReply(
        success=answer.error is None,
        message=message_of(answer),
        operation_id=answer.operation_id,
        kind=answer.kind,
        status=status if answer.error is None else OperationStatus.FAILED,
        dry_run=answer.dry_run,
        total=answer.total,
        done=answer.done,
        success_count=answer.succeeded,
        failed_count=answer.done - answer.succeeded,
        succeeded=answer.succeeded,
        new_task_ids=list(answer.new_task_ids.values()),
        retries=answer.new_task_ids,
        errors=errors,
    )


def passed_over(task_id: str, code: str, other_task_id: str | None = None) -> PassedOver:
    """A skipped task, with the meaning of its code."""
    return PassedOver(task_id, code, REASONS.get(code, code), other_task_id)


VERBS = MappingProxyType({"retry": "retried", "cancel": "cancelled", "delete": "deleted", "archive": "archived"})


def message_of(answer: BulkAnswer) -> str:
    """One sentence for people."""
    verb = VERBS[answer.kind]
    if answer.error is not None:
        return f"Given up after {answer.done} of {answer.total} tasks: {answer.error}"
    if answer.dry_run:
        sight = "" if answer.done == answer.total else f"; only {answer.done} were looked at"
        return f"{answer.succeeded} of {answer.total} tasks would be {verb}{sight}"
    if not answer.finished:
        return f"{answer.total} tasks are being {verb}; {answer.done} done"
    return f"{answer.succeeded} of {answer.total} tasks {verb}"


def answer_bulk(answer: BulkAnswer) -> JsonAnswer:
    """An answer with status 200 and the result, or 202 and the address of the progress."""
    return answer_of_operation(reply_of(answer), answer)


def answer_of_operation(reply: msgspec.Struct, answer: BulkAnswer) -> JsonAnswer:
    """The reply, with status 200 if the operation has ended, else 202 and the address of the progress."""
    if answer.finished:
        return JsonAnswer(reply)
    return JsonAnswer(reply, 202, headers={"location": f"/api/v1/operations/{answer.operation_id}"})


async def run_bulk(request: ApiRequest, kind: BulkKind) -> JsonAnswer:
    """Read which tasks are meant, and change them.

    Raises:
        InvalidValue: The body does not fit, or names no tasks.
    """
    services = services_of(request)
    body = await read_object(request, BulkBody, services.settings.max_body)
    if body.filter is not None and body.filter.is_empty and body.task_ids is None:
        raise InvalidValue("An empty filter matches every task; give it at least one field.", "$.filter")
    wanted = BulkRequest(
        kind=kind,
        task_ids=None if body.task_ids is None else tuple(body.task_ids),
        filter=None
        if body.filter is None
        else task_filter(body.filter, services.catalogue, services.settings.zone, "$.filter."),
        force=body.force,
    )
    if body.dry_run:
        return answer_bulk(await while_client_waits(request, services.bulk.run(wanted, dry_run=True)))
    return answer_bulk(await services.bulk.run(wanted))


DOCUMENTED = documented(
    BulkReply,
    description="The result; with `dry_run`, what it would be.",
    refusals=("unknown_platform", "disk_full", "search_timeout"),
    body=Body("Which tasks.", {JSON: BulkBody}, EXAMPLES),
    also={202: "There are many tasks; the work continues in the background."},
    gives=(LOCATION,),
)


@post(
    "/tasks/batch/retry",
    summary="Retry many tasks",
    description="Retries tasks by ids, by a filter, or both: then the given ids that match. In a chain of retries, a "
    "filter retries only the newest. Large sets run in the background.",
    tags=["Bulk"],
    **DOCUMENTED,
)
async def retry_tasks(request: ApiRequest) -> JsonAnswer:
    """Retry many tasks."""
    return await run_bulk(request, BulkKind.RETRY)


@post(
    "/tasks/batch/cancel",
    summary="Cancel many tasks",
    description="Cancels waiting tasks; with `force` also asks the workers to stop running ones.",
    tags=["Bulk"],
    **DOCUMENTED,
)
async def cancel_tasks(request: ApiRequest) -> JsonAnswer:
    """Cancel many tasks."""
    return await run_bulk(request, BulkKind.CANCEL)


@post(
    "/tasks/batch/delete",
    summary="Delete many tasks",
    description="Moves ended tasks to the archive, from which they can still be retried.",
    tags=["Bulk"],
    **DOCUMENTED,
)
async def delete_tasks(request: ApiRequest) -> JsonAnswer:
    """Delete many tasks."""
    return await run_bulk(request, BulkKind.DELETE)


@get(
    "/operations/{operation_id:str}",
    summary="Show bulk work",
    description="The progress of bulk work, and the skipped tasks by id, up to 1,000 per answer.",
    tags=["Bulk"],
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
    answer = await bulk.progress(operation_id)
    skips = await bulk.find_skips(operation_id, after)
    return JsonAnswer(reply_of(answer, [passed_over(skip.task_id, skip.reason) for skip in skips]))
