"""The audit as it is shown: its filter, its pages, and its entries."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from everpost.access import AuditRow, How
from everpost.clock import read_time, to_text
from everpost.errors import InvalidValue
from everpost.store.audit import Audit, AuditFilter
from everpost.store.lists.cursor import Key, read_cursor, write_cursor

STEP = 500  # entries of an export that are read together


class ShownEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller did.

    Attributes:
        who: The name of the key; `token`, `anonymous`, a name that an identity provider gave, or a user of the system.
        action: The name of the operation, as in this document, or of a command.
        target: What was changed: the id of a task or an operation, PLATFORM/ACCOUNT, or the like.
        outcome: `ok`, or the code of the error: the change may have been made nevertheless, unless it is `forbidden`.
    """

    audit_id: str
    at: str
    who: str
    role: str
    key_id: str | None
    action: str
    how: How
    address: str | None
    target: str | None
    why: str | None
    details: Mapping[str, Any]
    outcome: str


class ExportedEntry(ShownEntry, frozen=True, kw_only=True):
    """An entry of an export; `cursor` goes on behind it."""

    cursor: str


class ShownPage(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, the newest first, and the cursor of the next page; None on the last."""

    entries: Sequence[ShownEntry]
    next_cursor: str | None


def with_times(wanted: AuditFilter, zone: tzinfo) -> AuditFilter:
    """The filter whose times are as people write them, as the store takes it.

    Raises:
        InvalidValue: A time cannot be read.
    """
    after, before = _time("after", wanted.after, zone), _time("before", wanted.before, zone)
    return msgspec.structs.replace(wanted, after=after, before=before)


async def page_of_audit(audit: Audit, wanted: AuditFilter, cursor: str | None, limit: int) -> ShownPage:
    """A page of the audit. It may have fewer entries than `limit`, or none, although others follow.

    Raises:
        InvalidValue: The cursor is not valid.
    """
    page = await audit.page(wanted, None if cursor is None else read_cursor(cursor).task_id, limit)
    following = None if page.following is None else write_cursor(Key(None, page.following))
    return ShownPage(entries=[shown_entry(row) for row in page.rows], next_cursor=following)


async def steps_of_audit(audit: Audit, wanted: AuditFilter, cursor: str | None) -> AsyncIterator[list[ExportedEntry]]:
    """All entries that match, the newest first, for an export. No step is empty.

    Raises:
        InvalidValue: The cursor is not valid.
    """
    before = None if cursor is None else read_cursor(cursor).task_id
    while True:
        page = await audit.page(wanted, before, STEP)
        if page.rows:
            yield [
                ExportedEntry(**msgspec.structs.asdict(row), cursor=write_cursor(Key(None, row.audit_id)))
                for row in page.rows
            ]
        if page.following is None:
            return
        before = page.following


def shown_entry(row: AuditRow) -> ShownEntry:
    """An entry as it is shown."""
    return ShownEntry(**msgspec.structs.asdict(row))


def _time(field: str, text: str | None, zone: tzinfo) -> str | None:
    try:
        return None if text is None else to_text(read_time(text, zone))
    except (ValueError, OverflowError) as error:
        raise InvalidValue(f"{text!r} is not a date or time.", f"$.{field}") from error
