"""The port's limits on SQLite, tables `limits`, `limit_uses` and `limit_closures`."""

from collections.abc import Collection, Sequence

import msgspec

from everpost.clock import from_text, to_text
from everpost.limits import Scope
from everpost.store.limits import CLOSED, MOST_USES, VERSION, StoredLimits, Use, version_in
from everpost.store.sqlite.care.meta import get_value, set_value
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.task.holds import NOTHING_SET, ChangeScope, ScopeState, read_state, write_state


class SqliteLimits:
    """See `everpost.store.limits.Limits`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        """See the port."""
        return await self._database.read(_version)

    async def find(self) -> StoredLimits:
        """See the port."""

        def find(connection: sqlite3.Connection) -> StoredLimits:
            rows = connection.execute(load("find_limits")).fetchall()
            return StoredLimits(_version(connection), {scope: read_state(value) for scope, value in rows})

        return await self._database.read(find)

    async def find_state(self, scope: Scope) -> ScopeState:
        """See the port."""
        return await self._database.read(lambda connection: _state(connection, scope))

    async def find_states(self, scopes: Collection[Scope]) -> dict[Scope, ScopeState]:
        """See the port."""
        parameters = {"scopes": msgspec.json.encode([*scopes]).decode()}
        rows = await self._database.read(
            lambda connection: connection.execute(load("find_limits_of"), parameters).fetchall()
        )
        return {scope: read_state(value) for scope, value in rows}

    async def change(self, scope: Scope, rule: ChangeScope, now_ms: int) -> ScopeState:
        """See the port."""
        return await self._database.write(lambda connection: change_scope(connection, scope, rule, now_ms))

    async def note_uses(self, uses: Sequence[Use]) -> None:
        """See the port."""
        rows = [{"task_id": use.task_id, "lane": use.lane, "used_at": to_text(use.used_at_ms)} for use in uses]
        text = msgspec.json.encode(rows).decode()
        await self._database.write(lambda connection: connection.execute(load("note_uses"), {"rows": text}))

    async def uses_since(self, since_ms: int) -> list[Use]:
        """See the port."""
        parameters = {"since": to_text(since_ms), "limit": MOST_USES}
        rows = await self._database.read(
            lambda connection: connection.execute(load("uses_since"), parameters).fetchall()
        )
        return [Use(task_id, lane, from_text(used_at) or 0) for task_id, lane, used_at in rows]

    async def close(self, scope: Scope, until_ms: int) -> None:
        """See the port."""
        parameters = {"scope": scope, "until": to_text(until_ms)}

        def close(connection: sqlite3.Connection) -> None:
            connection.execute(load("close_scope"), parameters)
            set_value(connection, CLOSED, f"{scope} {until_ms}")

        await self._database.write(close)

    async def closures(self, now_ms: int) -> dict[Scope, int]:
        """See the port."""
        parameters = {"now": to_text(now_ms)}
        rows = await self._database.read(
            lambda connection: connection.execute(load("find_closures"), parameters).fetchall()
        )
        return {scope: from_text(until) or 0 for scope, until in rows}

    async def forget_uses(self, before_ms: int, limit: int = 1_000) -> int:
        """See the port."""
        parameters = {"before": to_text(before_ms), "limit": limit}

        def forget(connection: sqlite3.Connection) -> int:
            statements = (load("forget_uses"), load("forget_closures"))
            return sum(connection.execute(statement, parameters).rowcount for statement in statements)

        return await self._database.write(forget)


def change_scope(connection: sqlite3.Connection, scope: Scope, rule: ChangeScope, now_ms: int) -> ScopeState:
    """See `Limits.change`; this is its transaction."""
    before = _state(connection, scope)
    after = rule(before)
    if after == before:
        return after
    if after == NOTHING_SET:
        connection.execute(load("forget_limit"), {"scope": scope})
    else:
        parameters = {"scope": scope, "value": write_state(after), "now": to_text(now_ms)}
        connection.execute(load("set_limit"), parameters)
    set_value(connection, VERSION, str(_version(connection) + 1))
    return after


def _state(connection: sqlite3.Connection, scope: Scope) -> ScopeState:
    row = connection.execute(load("find_limit"), {"scope": scope}).fetchone()
    return read_state(row[0] if row else None)


def _version(connection: sqlite3.Connection) -> int:
    return version_in(get_value(connection, VERSION))
