"""Moves a whole stack from one store to another: copies every row, compares all of them, and opens the target.

The move can be interrupted at each point, and is continued when it is called again with the same stores. Redis is not
touched: its jobs have the ids of the tasks, which stay the same.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from uuid import uuid4

import msgspec

from everpost.errors import DatabaseUnusable, ServiceError
from everpost.failpoints import failpoint
from everpost.store.moving import Fitted, Mark, MovedStore, Role, Row, Table, Value, check_open

PORTION = 1_000
FIRST = next(iter(Table))
DIGEST_BYTES = 16
LIMIT = 1 << (8 * DIGEST_BYTES)

Progress = Callable[[str, int, int], None]
"""Called with what is done, such as `copying task_queue`, the rows that are done, and all rows."""

Report = Callable[[Table, Row, Fitted], None]
"""Called with each row that the target keeps changed or not at all, once a pass over the source."""


class MoveFailed(ServiceError):
    """The target does not have what the source has. Neither store can be opened."""

    code = "move_failed"


class Tally(msgspec.Struct, frozen=True):
    """The content of a table.

    Attributes:
        rows: How many rows it has.
        digest: The sum of the rows' digests, in hexadecimal; the order of the rows does not matter.
        left_out: Rows of the source that the target cannot keep; they are not in `rows`.
        changed: Rows that the target cannot keep unchanged.
    """

    rows: int
    digest: str
    left_out: int = 0
    changed: int = 0


class Moved(msgspec.Struct, frozen=True):
    """A finished move.

    Attributes:
        tables: The content of each table, which is the same in both stores; empty if the move was finished before.
    """

    tables: Mapping[Table, Tally]


async def move(source: MovedStore, target: MovedStore, tell: Progress, report: Report) -> Moved:
    """Move everything, or continue an interrupted move.

    Raises:
        DatabaseUnusable: A store is part of another move, or the target is not empty.
        MoveFailed: The copy differs from the source.
    """
    mark = await _begin(source, target)
    if mark.is_finished:
        return Moved({})
    mark = await _copy(source, target, mark, tell)
    tables = await _compare(source, target, tell, report)
    await _finish(source, target, mark)
    return Moved(tables)


async def foresee(source: MovedStore, target: MovedStore, tell: Progress, report: Report) -> Moved:
    """The content of the source as the target would keep it; no row is moved."""
    return Moved({table: await _tally_of_source(source, target, table, tell, report) for table in Table})


async def abandon(source: MovedStore) -> bool:
    """Give an unfinished move up, and open the source again; False if no move is unfinished.

    Raises:
        DatabaseUnusable: The move is finished.
    """
    mark = await source.mark()
    if mark is None or mark.role is not Role.SOURCE:
        return False
    if mark.is_finished:
        raise DatabaseUnusable(
            f"{source.name} was moved to {mark.other}, which may have changed since; it is not opened again."
        )
    await source.set_mark(mark, None)
    return True


async def _begin(source: MovedStore, target: MovedStore) -> Mark:
    """Close both stores; return the target's mark, which says where the copying continues."""
    ours, theirs = await source.mark(), await target.mark()
    if ours is None or ours.role is not Role.SOURCE:
        check_open(ours)
        await target.check_new()
        before, ours = ours, Mark(move_id=uuid4().hex, role=Role.SOURCE, other=target.name)
        await source.set_mark(before, ours)
        failpoint("move.closed")
    elif theirs is not None and theirs.move_id == ours.move_id:
        return theirs
    elif ours.is_finished or ours.other != target.name:
        check_open(ours)
    mark = Mark(move_id=ours.move_id, role=Role.TARGET, other=source.name, table=FIRST)
    await target.begin(mark)
    failpoint("move.begun")
    return mark


async def _copy(source: MovedStore, target: MovedStore, mark: Mark, tell: Progress) -> Mark:
    """Copy what the target does not have yet; return its last mark."""
    while mark.table is not None:
        table = mark.table
        total, done = await source.count(table), await target.count(table)
        while mark.table is table:
            portion = await source.portion(table, mark.cursor, PORTION)
            fitted = [target.fit(table, row).values for row in portion.rows]
            following = _following(mark, table, portion.following)
            await target.write(table, [values for values in fitted if values is not None], mark, following)
            mark, done = following, done + len(portion.rows)
            failpoint("move.copied")
            tell(f"copying {table}", done, total)
    return mark


def _following(mark: Mark, table: Table, cursor: str | None) -> Mark:
    """The target's mark after a portion."""
    if cursor is None:
        tables = [*Table, None]
        return msgspec.structs.replace(mark, table=tables[tables.index(table) + 1], cursor=None)
    return msgspec.structs.replace(mark, cursor=cursor)


async def _compare(source: MovedStore, target: MovedStore, tell: Progress, report: Report) -> Mapping[Table, Tally]:
    """Read every row of both stores again; the content of each table."""
    tables = {}
    for table in Table:
        wanted = await _tally_of_source(source, target, table, tell, report)
        found = await _tally_of_target(target, table, tell)
        if (found.rows, found.digest) != (wanted.rows, wanted.digest):
            raise MoveFailed(
                f"{table} differs: the source has {wanted.rows:,} rows with the digest {wanted.digest}, the target "
                f"{found.rows:,} with {found.digest}. `everpost move --abandon` opens the source again, which was not "
                "changed; move it into another new database."
            )
        tables[table] = wanted
    return tables


async def _tally_of_source(
    source: MovedStore, target: MovedStore, table: Table, tell: Progress, report: Report
) -> Tally:
    total = await source.count(table)
    digest = rows = left_out = changed = 0
    async for row in _rows(source, table):
        fitted = target.fit(table, row)
        if fitted.faults:
            report(table, row, fitted)
        if fitted.values is None:
            left_out += 1
            continue
        changed += bool(fitted.faults)
        rows += 1
        digest += _digest(fitted.values)
        if rows % PORTION == 0:
            tell(f"reading {table} of the source", rows, total)
    return Tally(rows, _hexadecimal(digest), left_out, changed)


async def _tally_of_target(target: MovedStore, table: Table, tell: Progress) -> Tally:
    total = await target.count(table)
    digest = rows = 0
    async for row in _rows(target, table):
        rows += 1
        digest += _digest(row.values)
        if rows % PORTION == 0:
            tell(f"reading {table} of the target", rows, total)
    return Tally(rows, _hexadecimal(digest))


async def _rows(store: MovedStore, table: Table) -> AsyncIterator[Row]:
    cursor: str | None = None
    while True:
        portion = await store.portion(table, cursor, PORTION)
        for row in portion.rows:
            yield row
        if portion.following is None:
            return
        cursor = portion.following


def _digest(values: tuple[Value, ...]) -> int:
    packed = msgspec.msgpack.encode(values)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=DIGEST_BYTES).digest())


def _hexadecimal(digest: int) -> str:
    return f"{digest % LIMIT:0{2 * DIGEST_BYTES}x}"


async def _finish(source: MovedStore, target: MovedStore, mark: Mark) -> None:
    """Open the target. The source is closed for good before that, so a crash in between opens neither."""
    ours = await source.mark()
    failpoint("move.compared")
    if ours is not None and not ours.is_finished:
        await source.set_mark(ours, msgspec.structs.replace(ours, is_finished=True))
    failpoint("move.given")
    if not mark.is_finished:
        await target.set_mark(mark, msgspec.structs.replace(mark, is_finished=True))
