"""Entries in the audit by commands that work on the database itself."""

import getpass
from datetime import UTC, tzinfo
from typing import Any

from everpost.access import AuditRow, How, Role
from everpost.clock import to_text
from everpost.store import Store, open_store
from everpost.task.model import new_task_id


async def keep_entry(store: Store, command: str, target: str | None = None, **details: Any) -> None:
    """Keep an entry of a command that a user of this system has run. Every user who can write the file may do so.

    Raises:
        Unavailable: The store cannot be written.
    """
    now_ms = store.meta.now_ms()
    row = AuditRow(
        audit_id=new_task_id(now_ms),
        at=to_text(now_ms),
        who=_user(),
        role=Role.ADMIN,
        action=f"command {command}",
        how=How.COMMAND,
        target=target,
        details={name: value for name, value in details.items() if value},
    )
    await store.audit.add(row)


async def keep_entry_at(
    address: str, command: str, target: str | None = None, *, zone: tzinfo = UTC, **details: Any
) -> None:
    """The same in the store of an address, which is opened for it. Raises the errors of `open_store`."""
    store = await open_store(address, zone=zone)
    try:
        await keep_entry(store, command, target, **details)
    finally:
        await store.close()


def _user() -> str:
    """The user's name on this system."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the user has no entry among the system's users
        return "unknown user"
