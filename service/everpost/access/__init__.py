"""Who may do what: roles and their rights, callers, API keys, sessions, and entries of the audit. Pure rules."""

from everpost.access.audit import AuditRow, How
from everpost.access.keys import KeyRecord, KeyScope, KeyTerms, digest_of, new_secret, prefix_of
from everpost.access.roles import ANONYMOUS_ADMIN, RIGHTS_OF_ROLE, WITH_TOKEN, Caller, KeyRate, Right, Role
from everpost.access.sessions import SESSION_MS, SessionRecord

__all__ = [
    "ANONYMOUS_ADMIN",
    "RIGHTS_OF_ROLE",
    "SESSION_MS",
    "WITH_TOKEN",
    "AuditRow",
    "Caller",
    "How",
    "KeyRate",
    "KeyRecord",
    "KeyScope",
    "KeyTerms",
    "Right",
    "Role",
    "SessionRecord",
    "digest_of",
    "new_secret",
    "prefix_of",
]
