"""Bulk work over HTTP: retry, cancel and delete many tasks, and show the progress."""

from typing import Annotated, Any

import msgspec
from litestar import post
from msgspec import Meta

from everpost.access import Right
from everpost.access.roles import ANONYMOUS
from everpost.actions.bulk import BulkAnswer, BulkKind, BulkRequest
from everpost.actions.edit import PUBLISH_NOW
from everpost.api.http.audited import audited, by_of, note_of
from everpost.api.http.bodies import read_object
from everpost.api.http.file_reach import need_files_in_reach
from everpost.api.http.hanging_up import while_client_waits
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.reach import need_patch_in_reach, reached
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import Body, Header, documented
from everpost.api.services import ApiRequest, services_of
from everpost.errors import InvalidValue
from everpost.store.audit import MOST_NAMED
from everpost.store.history import TaskFilter
from everpost.task.submission import encode_json
from everpost.views.bulk_answers import BulkReply, reply_of
from everpost.views.filter_request import FilterRequest, task_filter

Id = Annotated[str, Meta(min_length=1, max_length=128)]

IDS = ["019b76da3f007c8e9d2b4f6a8c0e1d3f", "019b76da3f017c8e9d2b4f6a8c0e1d40"]
FILTER = {"status": "failed", "platform": 1, "created_after": "2026-01-01"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "By ids": {"task_ids": IDS},
    "By filter": {"filter": FILTER},
    "The ids that match": {"task_ids": IDS, "filter": FILTER, "dry_run": True},
    "With edited data": {"task_ids": IDS, "data": {"account_id": "another_account"}},
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
    data: Annotated[
        dict[str, Any] | None, Meta(description="For a retry: a JSON merge patch (RFC 7396) of each task's data.")
    ] = None


def answer_bulk(answer: BulkAnswer) -> JsonAnswer:
    """An answer with status 200 and the result, or 202 and the address of the progress."""
    return answer_of_operation(reply_of(answer), answer)


def answer_of_operation(reply: msgspec.Struct, answer: BulkAnswer) -> JsonAnswer:
    """The reply, with status 200 if the operation has ended, else 202 and the address of the progress."""
    if answer.has_ended:
        return JsonAnswer(reply)
    return JsonAnswer(reply, 202, headers={"location": f"/api/v1/operations/{answer.operation_id}"})


async def run_bulk(request: ApiRequest, kind: BulkKind, form: type[BulkBody] = BulkBody) -> JsonAnswer:
    """Read which tasks are meant, and change them. An edit without a patch of its own makes them due.

    Raises:
        InvalidValue: The body does not fit, or names no tasks.
    """
    services = services_of(request)
    body = await read_object(request, form, services.settings.max_body)
    if body.filter is not None and body.filter.is_empty and body.task_ids is None:
        raise InvalidValue("An empty filter matches every task; give it at least one field.", "$.filter")
    if kind is BulkKind.RESOLVE:
        check_name(request, getattr(body, "by", None))
    if body.data is not None and kind not in {BulkKind.RETRY, BulkKind.EDIT}:
        raise InvalidValue("Only a retry or an edit takes data.", "$.data")
    patch = body.data if kind is not BulkKind.EDIT else _patch_of(body)
    need_patch_in_reach(caller_of(request), patch or {}, "$.data")
    await need_files_in_reach(services, caller_of(request), patch, "$.data")
    wanted = BulkRequest(
        kind=kind,
        task_ids=None if body.task_ids is None else tuple(body.task_ids),
        filter=_filter_of(request, body),
        force=body.force,
        data=None if patch is None else services.hiding.unshown(patch, "$.data"),
        by=by_of(caller_of(request), getattr(body, "by", None)),
        why=getattr(body, "why", None),
        decision=getattr(body, "decision", None),
    )
    if body.dry_run:
        note_of(request).is_needed = False
        return answer_bulk(await while_client_waits(request, services.bulk.run(wanted, dry_run=True)))
    answer = await services.bulk.run(wanted)
    note_bulk(request, answer, body)
    return answer_bulk(answer)


def check_name(request: ApiRequest, by: str | None) -> None:
    """Return if it is known who decides: a caller without a key or token has no name of its own.

    Raises:
        InvalidValue: It is not.
    """
    if by is None and caller_of(request).name == ANONYMOUS:
        raise InvalidValue("Say who decides: send `by`, or a key.", "$.by")


def _filter_of(request: ApiRequest, body: BulkBody) -> TaskFilter | None:
    """The filter of a body, limited to what the caller reaches; then ids have one too."""
    services = services_of(request)
    if body.filter is not None:
        wanted = task_filter(body.filter, services.catalogue, services.settings.zone, "$.filter.")
        return reached(request, wanted)
    is_limited = caller_of(request).is_limited and body.task_ids is not None
    return reached(request, TaskFilter()) if is_limited else None


def note_bulk(request: ApiRequest, answer: BulkAnswer, body: BulkBody) -> None:
    """Say in the audit which tasks were meant."""
    ids = body.task_ids or ()
    note_of(request).about(
        answer.operation_id,
        by=getattr(body, "by", None),
        why=getattr(body, "why", None),
        force=body.force,
        decision=getattr(body, "decision", None),
        members=sorted(body.data or ()),
        filter=None if body.filter is None else msgspec.to_builtins(body.filter),
        task_ids=list(ids[:MOST_NAMED]),
        tasks=answer.total,
    )


def _patch_of(body: BulkBody) -> dict[str, Any]:
    patch: dict[str, Any] = getattr(body, "data", None) or dict(PUBLISH_NOW)
    encode_json(patch)
    return patch


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
    opt=needs(Right.OPERATE, scoped=True),
    **DOCUMENTED,
)
@audited
async def retry_tasks(request: ApiRequest) -> JsonAnswer:
    """Retry many tasks."""
    return await run_bulk(request, BulkKind.RETRY)


@post(
    "/tasks/batch/cancel",
    summary="Cancel many tasks",
    description="Cancels waiting tasks; with `force` also asks the workers to stop running ones.",
    tags=["Bulk"],
    opt=needs(Right.OPERATE, scoped=True),
    **DOCUMENTED,
)
@audited
async def cancel_tasks(request: ApiRequest) -> JsonAnswer:
    """Cancel many tasks."""
    return await run_bulk(request, BulkKind.CANCEL)


@post(
    "/tasks/batch/delete",
    summary="Delete many tasks",
    description="Moves ended tasks to the archive, from which they can still be retried.",
    tags=["Bulk"],
    opt=needs(Right.OPERATE, scoped=True),
    **DOCUMENTED,
)
@audited
async def delete_tasks(request: ApiRequest) -> JsonAnswer:
    """Delete many tasks."""
    return await run_bulk(request, BulkKind.DELETE)
