"""The port's noun `audit`: who did what, when, from where and why. Rows are only ever added."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from everpost.access import AuditRow, How
from everpost.store.changes import Outcome
from everpost.task.model import Task

MOST_SCANNED = 20_000  # rows that one page looks at; a filter that few rows match needs several pages
MOST_NAMED = 100  # ids of tasks in one row
PURGING = "audit_purging"  # in `everpost.store.meta.Meta`, inside of a purge only: rows before this time may go


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; None admits everything. Times are text; `after` is included, `before` is not."""

    who: str | None = None
    action: str | None = None
    target: str | None = None
    how: How | None = None
    outcome: str | None = None
    after: str | None = None
    before: str | None = None


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, the newest first, and the `audit_id` before which the next page begins; None if there is no more."""

    rows: Sequence[AuditRow]
    following: str | None


class Audit(Protocol):
    """Keeps entries. Writes are durable; they raise the errors of `everpost.store.ledger.Ledger`.

    The store itself refuses to change or remove an entry, also for other programs, until a purge says what may go.
    """

    async def add(self, row: AuditRow) -> None:
        """Keep an entry."""

    async def page(self, wanted: AuditFilter, before: str | None, limit: int) -> AuditPage:
        """At most `limit` entries before an `audit_id`. A page may have fewer, or none, although others follow."""

    async def purge(self, before: str, limit: int) -> int:
        """Destroy at most `limit` entries of before a time, the oldest first; how many there were."""


def entry_after(row: AuditRow, outcomes: Sequence[Outcome]) -> AuditRow | None:
    """The entry of a change with these outcomes; None if it changed nothing."""
    changed = [outcome for outcome in outcomes if outcome.reason is None and outcome.undecided is None]
    if not changed:
        return None
    return entry_of_retries(row, [outcome.new_task for outcome in changed if outcome.new_task is not None])


def entry_of_retries(row: AuditRow, made: Sequence[Task]) -> AuditRow:
    """The entry of a change that makes new tasks; it names the only one."""
    if len(made) != 1:
        return row
    return msgspec.structs.replace(row, details={**row.details, "new_task_id": made[0].task_id})


def row_of(row: AuditRow, details: str) -> dict[str, Any]:
    """The entry as the named values of a row; `details` are its details as JSON."""
    values = msgspec.structs.asdict(row)
    values["role"], values["how"] = str(row.role), str(row.how)  # SQLite takes twice as long for members of enums
    values["details"] = details
    return values


def entry_of(row: Mapping[str, Any]) -> AuditRow:
    """The entry in a row."""
    return AuditRow(**(dict(row) | {"how": How(row["how"]), "details": msgspec.json.decode(row["details"])}))


def wanted_of(wanted: AuditFilter, before: str | None, limit: int) -> dict[str, Any]:
    """The named values of the statements that find a page."""
    values = msgspec.structs.asdict(wanted) | {"how": None if wanted.how is None else wanted.how.value}
    values |= {"until": values.pop("before"), "since": values.pop("after")}
    return values | {"before": before or "g", "most": limit, "scanned": MOST_SCANNED}  # "g": after all hex digits


def page_of(rows: Sequence[AuditRow], last_scanned: str | None, scanned: int, limit: int) -> AuditPage:
    """The page of the rows that were found among the scanned ones."""
    if len(rows) == limit:
        return AuditPage(rows, rows[-1].audit_id)
    return AuditPage(rows, last_scanned if scanned == MOST_SCANNED else None)
