"""GET /audit: who did what, in pages or as an export."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from everpost.access import How, Right
from everpost.api.http.exports import Export
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import needs
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, services_of
from everpost.store.audit import AuditFilter
from everpost.views.audit_views import ExportedEntry, ShownEntry, page_of_audit, steps_of_audit, with_times
from everpost.views.tables import NDJSON, Format

MOST = 1_000


def _word(description: str) -> QueryParameter:
    return QueryParameter(description=description, min_length=1, max_length=256)


Who = Annotated[str | None, _word("The name of a caller.")]
Action = Annotated[str | None, _word("The name of an operation, such as retry_task.")]
Target = Annotated[str | None, _word("A task's id, an operation's id, PLATFORM/ACCOUNT, or the like.")]
Way = Annotated[How | None, QueryParameter(description="The way by which it came.")]
Outcome = Annotated[str | None, _word("`ok`, or the code of an error.")]
After = Annotated[str | None, _word("A date or time, inclusive.")]
Before = Annotated[str | None, _word("A date or time, exclusive.")]


class AuditAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, the newest first. `next_cursor` is the `cursor` for the next page; null on the last.

    A page may have fewer entries than wanted, or none, although others follow.
    """

    success: bool
    data: Sequence[ShownEntry]
    next_cursor: str | None


@get(
    "/audit",
    summary="List the audit",
    description="Who did what, when, from where, and why: every change by API, console and command, the newest first. "
    "Every filter given must match.",
    tags=["Audit"],
    opt=needs(Right.OPERATE),
    **documented(AuditAnswer, description="The entries."),
)
async def list_audit(
    request: ApiRequest,
    who: Who = None,
    action: Action = None,
    target: Target = None,
    how: Way = None,
    outcome: Outcome = None,
    after: After = None,
    before: Before = None,
    cursor: Annotated[str | None, _word("`next_cursor` of the previous answer.")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST, description="The most entries in one answer.")] = 100,
) -> JsonAnswer:
    """List the audit."""
    services = services_of(request)
    given = AuditFilter(who=who, action=action, target=target, how=how, outcome=outcome, after=after, before=before)
    wanted = with_times(given, services.settings.zone)
    page = await page_of_audit(services.store.audit, wanted, cursor, limit)
    return JsonAnswer(AuditAnswer(success=True, data=page.entries, next_cursor=page.next_cursor))


@get(
    "/audit/export",
    summary="Export the audit",
    description="All entries that match, the newest first, as NDJSON or CSV. Each has the `cursor` that goes on behind "
    "it. An answer that was cut off has no end, so its client notices; see docs/export.md.",
    tags=["Audit"],
    opt=needs(Right.ADMIN),
    **documented(
        ExportedEntry,
        description="The entries, one a line; for `csv`, one a record, of the type `text/csv`.",
        media_type=NDJSON,
    ),
)
async def export_audit(
    request: ApiRequest,
    format: Annotated[  # noqa: A002 - it is the name of the parameter
        Format, QueryParameter(description="NDJSON for programs, CSV for people.")
    ] = Format.NDJSON,
    who: Who = None,
    action: Action = None,
    target: Target = None,
    how: Way = None,
    outcome: Outcome = None,
    after: After = None,
    before: Before = None,
    cursor: Annotated[str | None, _word("The `cursor` of the last entry that arrived.")] = None,
) -> Export:
    """Export the audit."""
    services = services_of(request)
    given = AuditFilter(who=who, action=action, target=target, how=how, outcome=outcome, after=after, before=before)
    steps = steps_of_audit(services.store.audit, with_times(given, services.settings.zone), cursor)
    return Export(steps, ExportedEntry, format, services.export_slots, what="audit", with_head=cursor is None)
