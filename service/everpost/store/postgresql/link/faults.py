"""The meaning of PostgreSQL's errors (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

import asyncpg

from everpost.errors import DatabaseBusy, DatabaseDamaged, DatabaseUnusable, DatabaseUnwritable, ServiceError

READ_ONLY = "25006"
TOO_MANY = "53300"  # connections
DISK_FULL = "53100"
IDLE_TOO_LONG = "25P03"  # in a transaction
INTERNAL = "XX000"
NO_PRIMARY = frozenset({READ_ONLY, "57P01", "57P02", "57P03", "57P05"})
"""Read-only, shut down, crashed, starting, idle for too long: none of this server's connections is of use any more."""

UNDONE = frozenset({"40001", "40P01", "0A000"})
"""Serialization failure, deadlock, and a plan that another process's migration made invalid."""

OTHER_TYPE = frozenset({"42804", "42846"})
"""A value has another type than the statement takes: the types were made anew, for example by a restored dump."""

LOST_TYPE = "cache lookup failed for type"  # of an internal error, which has no translation

BUSY = frozenset({"55P03", "57014"})  # a lock was not available; the statement was cancelled
WRONG_LOGIN = frozenset({"28000", "28P01", "3D000"})


class LinkLost(Exception):
    """The connection is dead, or leads to a server that is not the primary any more.

    Attributes:
        is_of_all: All connections to the same server are lost, not only this one.
        is_refusal: The server has certainly not carried the statement out.
    """

    def __init__(self, message: str, *, is_of_all: bool = True, is_refusal: bool = False) -> None:
        super().__init__(message)
        self.is_of_all = is_of_all
        self.is_refusal = is_refusal


class TransactionUndone(Exception):
    """PostgreSQL undid the transaction because of another one; it can be repeated."""


class StatementRefused(Exception):
    """The statement's data break a rule of the database.

    Attributes:
        sqlstate: Class 23 is a constraint, class 22 a value that cannot be stored.
        constraint: The name of the constraint or unique index; None if no constraint is concerned.
    """

    def __init__(self, message: str, sqlstate: str, constraint: str | None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.constraint = constraint


def is_disk_full(trouble: ServiceError | None) -> bool:
    """Whether the trouble is that the server's disk is full."""
    return trouble is not None and getattr(trouble.__cause__, "sqlstate", None) == DISK_FULL


def meaning_of(error: Exception) -> Exception:
    """The meaning of a driver's error; other errors stay unchanged."""
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        meaning: Exception = DatabaseUnusable(f"EVERPOST_DATABASE: {error}.")
    elif isinstance(error, asyncpg.PostgresError):
        meaning = _meaning_of_state(error)
    elif isinstance(error, asyncpg.DataError):  # found by the driver: a value has the wrong type
        meaning = StatementRefused(str(error), "22000", None)
    elif isinstance(error, (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        meaning = LinkLost(str(error) or "it does not answer in time")
    else:
        return error
    meaning.__cause__ = error
    return meaning


def _meaning_of_state(error: asyncpg.PostgresError) -> Exception:
    state = error.sqlstate or ""
    if state in NO_PRIMARY or state.startswith("08"):
        return LinkLost(error.message or str(error), is_refusal=state == READ_ONLY)
    if state in {IDLE_TOO_LONG, TOO_MANY} or _is_of_type(state, str(error)):
        return LinkLost(error.message or str(error), is_of_all=False, is_refusal=state != IDLE_TOO_LONG)
    if state in UNDONE:
        return TransactionUndone(str(error))
    if state[:2] in {"22", "23"}:
        return StatementRefused(str(error), state, error.constraint_name)
    return _service_error(state, error.message or str(error))


def _is_of_type(state: str, message: str) -> bool:
    """Whether the connection has learned types that are others now."""
    return state in OTHER_TYPE or (state == INTERNAL and message.startswith(LOST_TYPE))


def _service_error(state: str, message: str) -> ServiceError:
    if state in BUSY:
        return DatabaseBusy()
    if state.startswith("XX"):
        return DatabaseDamaged(message)
    if state.startswith(("53", "58")):
        return DatabaseUnwritable(message)
    if state in WRONG_LOGIN:
        return DatabaseUnusable(f"PostgreSQL refuses the connection: {message}. Check EVERPOST_DATABASE.")
    return DatabaseUnusable(f"PostgreSQL refuses a statement: {message} ({state}).")
