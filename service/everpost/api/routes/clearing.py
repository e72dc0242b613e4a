"""Moves many tasks to the archive: all of a kind, or old successes. Only `everpost purge` destroys tasks."""

from typing import Annotated

import msgspec
from litestar import post
from litestar.params import PathParameter, QueryParameter
from msgspec import Meta

from everpost.access import Right
from everpost.actions.bulk import CLEARED, BulkAnswer
from everpost.api.http.audited import audited, note_of
from everpost.api.http.bodies import read_object
from everpost.api.http.hanging_up import while_client_waits
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.rights import needs
from everpost.api.openapi.describe import Body, documented
from everpost.api.routes.many_tasks import LOCATION, answer_bulk, answer_of_operation
from everpost.api.services import ApiRequest, services_of
from everpost.clock import DAY_MS
from everpost.store.operations import OperationStatus
from everpost.views.bulk_answers import BulkReply, message_of

DryRun = Annotated[bool, QueryParameter(description="Change nothing, and answer what would be done.")]


class ArchiveBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The successes to archive: those that ended more than this many days ago."""

    older_than_days: Annotated[int, Meta(ge=0, le=36_500)] = 90
    dry_run: bool = False


class ArchiveAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks were archived, and how many old enough ones are left.

    Attributes:
        status: `running` means that it continues in the background; its progress is at /operations/{operation_id}.
        operation_id: Null for a dry run.
    """

    success: bool
    message: str
    archived: int
    remaining: int
    dry_run: bool
    status: OperationStatus
    operation_id: str | None


@post(
    "/tasks/clear/{what:str}",
    summary="Clear tasks",
    description="`pending` cancels waiting tasks; `failed`, `success` and `all` move tasks that have ended so to the "
    "archive. `all` is refused while tasks are unfinished.",
    tags=["Bulk"],
    opt=needs(Right.OPERATE),
    **documented(
        BulkReply,
        description="The result; with `dry_run`, what it would be.",
        refusals=("tasks_pending", "search_timeout"),
        also={202: "There are many tasks; the work continues in the background."},
        gives=(LOCATION,),
    ),
)
@audited
async def clear_tasks(
    request: ApiRequest,
    what: Annotated[str, PathParameter(description="What to clear.", schema_extra={"enum": list(CLEARED)})],
    dry_run: DryRun = False,
) -> JsonAnswer:
    """Clear tasks of one kind."""
    answer = await services_of(request).bulk.clear(what, dry_run=dry_run)
    note = note_of(request)
    note.about(answer.operation_id, what=what, tasks=answer.total)
    note.is_needed = not dry_run
    return answer_bulk(answer)


@post(
    "/tasks/archive",
    summary="Archive old successes",
    description="Moves successes that ended long ago to the archive. Large sets are moved in the background, in "
    "small steps.",
    tags=["Bulk"],
    opt=needs(Right.OPERATE),
    **documented(
        ArchiveAnswer,
        description="The result; with `dry_run`, what it would be.",
        body=Body("How old.", {JSON: ArchiveBody}, {"A year": {"older_than_days": 365, "dry_run": True}}),
        refusals=("search_timeout",),
        also={202: "There are many tasks; the work continues in the background."},
        gives=(LOCATION,),
    ),
)
@audited
async def archive_tasks(request: ApiRequest) -> JsonAnswer:
    """Archive old successes."""
    services = services_of(request)
    body = await read_object(request, ArchiveBody, services.settings.max_body)
    before_ms = services.clock() - body.older_than_days * DAY_MS
    note = note_of(request)
    if body.dry_run:
        note.is_needed = False
        count = await while_client_waits(request, services.store.archive.count_older(before_ms))
        return JsonAnswer(_foreseen(count))
    answer = await services.bulk.archive(before_ms)
    note.about(answer.operation_id, older_than_days=body.older_than_days, tasks=answer.total)
    return answer_of_operation(_archived(answer), answer)


def _foreseen(count: int) -> ArchiveAnswer:
    return ArchiveAnswer(
        success=True,
        message=f"{count} tasks would be archived",
        archived=0,
        remaining=count,
        dry_run=True,
        status=OperationStatus.DONE,
        operation_id=None,
    )


def _archived(answer: BulkAnswer) -> ArchiveAnswer:
    return ArchiveAnswer(
        success=True,
        message=f"{answer.succeeded} tasks archived" if answer.has_ended else message_of(answer),
        archived=answer.succeeded,
        remaining=answer.total - answer.done,
        dry_run=False,
        status=OperationStatus.DONE if answer.has_ended else OperationStatus.RUNNING,
        operation_id=answer.operation_id,
    )
