"""The meaning of PostgreSQL's errors (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

import asyncpg

from everpost.errors import DatabaseBusy, DatabaseDamaged, DatabaseUnusable, DatabaseUnwritable, ServiceError

REPEATED = frozenset({"40001", "40P01"})  # serialization failure, deadlock: the transaction was undone
NO_PRIMARY = frozenset({"25006", "57P01", "57P02", "57P03", "53300"})


class LinkLost(Exception):
    """The connection is dead, or leads to a server that is not the primary any more; everything on it was undone."""


class TransactionUndone(Exception):
    """PostgreSQL undid the transaction because of another one (a deadlock); it can be repeated."""


class StatementRefused(Exception):
    """The statement's data break a rule of the database.

    Attributes:
        sqlstate: Class 23 is a constraint, class 22 a value that cannot be stored.
        constraint: The name of the constraint or unique index; None if it is none.
    """

    def __init__(self, message: str, sqlstate: str, constraint: str | None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.constraint = constraint


def meaning_of(error: BaseException) -> BaseException:
    """The meaning of a driver's error; other errors stay unchanged."""
    if isinstance(error, asyncpg.PostgresError):
        meaning = _meaning_of_state(error)
    elif isinstance(error, asyncpg.DataError):
        meaning = StatementRefused(str(error), "22000", None)
    elif isinstance(error, (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        meaning = LinkLost(str(error))
    else:
        return error
    meaning.__cause__ = error
    return meaning


def _meaning_of_state(error: asyncpg.PostgresError) -> Exception:
    state = error.sqlstate or ""
    if state in NO_PRIMARY or state.startswith("08"):
        return LinkLost(str(error))
    if state in REPEATED:
        return TransactionUndone(str(error))
    if state[:2] in {"22", "23"}:
        return StatementRefused(str(error), state, getattr(error, "constraint_name", None))
    return _service_error(state, str(error))


def _service_error(state: str, message: str) -> ServiceError:
    if state in {"55P03", "57014"}:
        return DatabaseBusy()
    if state.startswith("XX00"):
        return DatabaseDamaged(message)
    if state.startswith(("53", "58")):
        return DatabaseUnwritable(message)
    return DatabaseUnusable(f"PostgreSQL refuses: {message} ({state}).")
