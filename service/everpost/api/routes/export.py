"""GET /tasks/export: all tasks that match, as NDJSON or CSV."""

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from everpost.access import Right
from everpost.api.http.exports import Export
from everpost.api.http.reach import reached
from everpost.api.http.rights import needs
from everpost.api.openapi.describe import documented
from everpost.api.routes import filter_parameters as parameters
from everpost.api.routes.filter_parameters import word
from everpost.api.services import ApiRequest, services_of
from everpost.views.exported_tasks import ExportedTask
from everpost.views.filter_request import FilterRequest, task_filter
from everpost.views.tables import NDJSON, Format

DESCRIPTION = (
    "All tasks that match, newest first, each as it is when its step is read. A task that matches all the time is "
    "there once; one that was accepted after the export began is not. Each line or record ends with the `cursor` that "
    "goes on behind it; an answer that was cut off has no end, so its client notices. With `cursor`, CSV has no head. "
    "Cells of CSV that a spreadsheet could take for a formula get an apostrophe before them. See docs/export.md."
)


@get(
    "/tasks/export",
    summary="Export tasks",
    description=DESCRIPTION,
    tags=["Tasks"],
    opt=needs(Right.READ, scoped=True),
    **documented(
        ExportedTask,
        description="The tasks, one a line; for `csv`, one a record, of the type `text/csv`.",
        refusals=("unknown_platform", "search_timeout"),
        media_type=NDJSON,
    ),
)
async def export_tasks(
    request: ApiRequest,
    format: Annotated[  # noqa: A002 - it is the name of the parameter
        Format, QueryParameter(description="NDJSON for programs, CSV for people.")
    ] = Format.NDJSON,
    with_data: Annotated[bool, QueryParameter(description="With the tasks' data.")] = True,
    status: parameters.Status = None,
    platform: parameters.Platform = None,
    account_id: parameters.Account = None,
    created_after: parameters.CreatedAfter = None,
    created_before: parameters.CreatedBefore = None,
    error_class: parameters.ClassOfError = None,
    cause: parameters.Cause = None,
    q: parameters.Words = None,
    batch_id: parameters.Batch = None,
    retry_of: parameters.RetryOf = None,
    submitted_by: parameters.SubmittedBy = None,
    cursor: Annotated[str | None, word("The `cursor` of the last task that arrived.", 2_000)] = None,
) -> Export:
    """Export tasks."""
    services = services_of(request)
    filters = FilterRequest(
        status=status, platform=platform, account_id=account_id, error_class=error_class, q=q, batch_id=batch_id,
        created_after=created_after, created_before=created_before, retry_of=retry_of, cause=cause,
        submitted_by=submitted_by,
    )  # fmt: skip
    wanted = reached(request, task_filter(filters, services.catalogue, services.settings.zone))
    steps = services.export.steps(wanted, cursor, with_data=with_data)
    return Export(steps, ExportedTask, format, services.export_slots, what="tasks", with_head=cursor is None)
