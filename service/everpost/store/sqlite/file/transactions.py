"""Turns the writes of concurrent callers into transactions: together if possible, and each with its own answer."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from everpost.errors import DatabaseBusy, ServiceError, WriteUnconfirmed
from everpost.failpoints import failpoint
from everpost.store.sqlite.faults import code_of, meaning_of
from everpost.store.sqlite.file.checkpoint import Checkpoint
from everpost.store.sqlite.file.connection import Operation, Result
from everpost.store.sqlite.library import CORRUPTION_FIXED, sqlite3
from everpost.store.sqlite.queries import load

LOCK_WAIT_S = 1.0  # a caller behind two such waits is still answered within 2 s
KNOWN_LOCK_WAIT_S = 0.1  # for a lock that the last write did not get
LOCK_PAUSES_S = (0.00005, 0.001)  # the shortest and longest pause between two tries for another process's lock


class RowWrite(msgspec.Struct, frozen=True):
    """Rows for a statement of `queries/` that takes a JSON list of them as `:rows`: all are written, or none.

    All rows of one commit for one statement are one execution of it. With one statement per row, the connection's
    thread would wait for Python's lock at every row.

    Attributes:
        rows: The list's elements, separated by commas.
    """

    statement: str
    rows: bytes


def commit_all(
    raw: sqlite3.Connection, operations: Sequence[Operation[Any] | RowWrite], lock_wait_s: float
) -> tuple[list[Any], bool, ServiceError | None]:
    """The operations' answers, whether anything was written (which proves that writing works), and the last error.

    If the file fails between two transactions, the callers of the first are still answered: a caller that is told that
    nothing was written would send its request again.

    Raises:
        Unavailable: The file or its disk is at fault, and nothing was written.
    """
    answers: list[Any] = []
    has_written = False
    try:
        for some, wrote in _commit_group(raw, operations, lock_wait_s):
            answers += some
            has_written = has_written or wrote
    except ServiceError as error:
        if not answers:
            raise
        return answers + [error] * (len(operations) - len(answers)), has_written, error
    return answers, has_written, None


def _commit_group(
    raw: sqlite3.Connection, operations: Sequence[Operation[Any] | RowWrite], lock_wait_s: float
) -> Iterator[tuple[list[Any], bool]]:
    """Run all operations but checkpoints in one transaction. If one fails, run each half in its own, and so on.

    A transaction for each would mean hundreds of flushes for one failure, which looks like a disk that does not answer.
    Yields the answers of each transaction, and whether it wrote anything.
    """
    if not CORRUPTION_FIXED and len(operations) > 1:
        for position, operation in enumerate(operations):
            if isinstance(operation, Checkpoint):
                for part in (operations[:position], [operation], operations[position + 1 :]):
                    if part:
                        yield from _commit_group(raw, part, lock_wait_s)
                return
    before = raw.total_changes  # counts also changes that are rolled back
    has_written = False
    try:
        answers = _transact(raw, operations, lock_wait_s)
        has_written = raw.total_changes != before
    except WriteUnconfirmed:
        raise
    except Exception as error:
        meaning = meaning_of(error)
        if meaning is not error:
            raise meaning from error  # every further try would fail in the same way
        answers = [error] if len(operations) == 1 else []
    if answers:
        yield answers, has_written
        return
    middle = len(operations) // 2
    yield from _commit_group(raw, operations[:middle], lock_wait_s)
    yield from _commit_group(raw, operations[middle:], lock_wait_s)


def _transact(
    raw: sqlite3.Connection, operations: Sequence[Operation[Any] | RowWrite], lock_wait_s: float
) -> list[Any]:
    try:
        answers, commit = _prepare(raw, operations, lock_wait_s)
        failpoint("commit.before")
        _confirm(commit)
        failpoint("commit.after")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise
    return answers


def _confirm(commit: Callable[[], object]) -> None:
    """Commit. After an I/O error, it is unknown whether the disk has it.

    Raises:
        WriteUnconfirmed: There was an I/O error.
    """
    try:
        commit()
    except sqlite3.Error as error:
        if code_of(error) != sqlite3.SQLITE_IOERR:
            raise
        raise WriteUnconfirmed(str(error)) from error


def _prepare(
    raw: sqlite3.Connection, operations: Sequence[Operation[Any] | RowWrite], lock_wait_s: float
) -> tuple[list[Any], Callable[[], object]]:
    """The operations' answers, and the function that commits them.

    Rows for one statement need neither BEGIN nor COMMIT. Between these, this thread would wait for Python's lock while
    it holds the file's lock, and every other process would wait with it.
    """
    rows = _rows_by_statement(operations)
    if len(rows) == 1 and all(isinstance(operation, RowWrite) for operation in operations):
        ((statement, some),) = rows.items()
        insert = partial(raw.execute, load(statement), {"rows": some})
        return [None] * len(operations), partial(_with_lock, insert, lock_wait_s)
    _with_lock(partial(raw.execute, "BEGIN IMMEDIATE"), lock_wait_s)
    answers = [None if isinstance(operation, RowWrite) else operation(raw) for operation in operations]
    for statement, some in rows.items():
        raw.execute(load(statement), {"rows": some})
    return answers, partial(raw.execute, "COMMIT")


def _rows_by_statement(operations: Sequence[Operation[Any] | RowWrite]) -> dict[str, str]:
    """For each statement, the JSON list of all its rows."""
    rows: dict[str, list[bytes]] = {}
    for operation in operations:
        if isinstance(operation, RowWrite):
            rows.setdefault(operation.statement, []).append(operation.rows)
    return {statement: (b"[" + b",".join(some) + b"]").decode() for statement, some in rows.items()}


def until(deadline: float, operation: Operation[Result]) -> Operation[Result]:
    """The operation, refused as `DatabaseBusy` if it begins after `deadline` (monotonic clock)."""

    def timely(raw: sqlite3.Connection) -> Result:
        if time.monotonic() > deadline:
            raise DatabaseBusy
        return operation(raw)

    return timely


def _with_lock(begin: Callable[[], object], lock_wait_s: float) -> None:
    """Call `begin`, which takes the write lock; another process's commit holds it for a fraction of a millisecond.

    SQLite's own busy handler sleeps for up to 100 ms, longer than many writes take. With three processes that write
    without a pause, one of them waited for 2 s; with this function, for 0.2 s.
    """
    deadline = time.monotonic() + lock_wait_s
    pause_s, longest_s = LOCK_PAUSES_S
    while True:
        try:
            begin()
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - on the connection's own thread
        pause_s = min(1.5 * pause_s, longest_s)
