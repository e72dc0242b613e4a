"""Entries of the audit: who did what."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

OK = "ok"


class How(StrEnum):
    """The way by which a change came."""

    API = "api"
    CONSOLE = "console"
    COMMAND = "command"


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. Times are text as in tables.

    Attributes:
        audit_id: A UUIDv7, so entries are in the order of their time.
        who: The name of the key, `token`, `anonymous`, or the name that an identity provider gave.
        action: The name of the route's operation, such as `cancel_task`, or `command` and the command's name.
        address: The address that the request came from.
        target: What was changed: the id of a task or an operation, PLATFORM/ACCOUNT, or the like.
        details: More about the change; no data of tasks, and no secrets.
        outcome: `ok`, or the code of the error.
    """

    audit_id: str
    at: str
    who: str
    role: str
    key_id: str | None = None
    action: str
    how: How
    address: str | None = None
    target: str | None = None
    why: str | None = None
    details: Mapping[str, Any] = {}
    outcome: str = OK
