"""The port's limits on PostgreSQL, tables `limits`, `limit_uses` and `limit_closures`."""

from collections.abc import Collection, Sequence

from everpost.clock import from_text, to_text
from everpost.limits import Scope
from everpost.store.limits import CLOSED, MOST_USES, VERSION, StoredLimits, Use, version_in
from everpost.store.postgresql.care.meta import get_value, set_value
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.texts import json_text, storable
from everpost.task.holds import NOTHING_SET, ChangeScope, ScopeState, read_state, write_state


class PostgresqlLimits:
    """See `everpost.store.limits.Limits`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        """See the port."""
        return await self._database.read(_version)

    async def find(self) -> StoredLimits:
        """See the port."""

        async def find(connection: Connection) -> StoredLimits:
            rows = await connection.fetch_all("find_limits")
            scopes = {row["scope"]: read_state(row["value"]) for row in rows}
            return StoredLimits(await _version(connection), scopes)

        return await self._database.snapshot(find)

    async def find_state(self, scope: Scope) -> ScopeState:
        """See the port."""
        return await self._database.read(lambda connection: _state(connection, storable(scope)))

    async def find_states(self, scopes: Collection[Scope]) -> dict[Scope, ScopeState]:
        """See the port."""
        named = {storable(scope): scope for scope in scopes}
        rows = await self._database.read(lambda connection: connection.fetch_all("find_limits_of", scopes=[*named]))
        return {named[row["scope"]]: read_state(row["value"]) for row in rows}

    async def change(self, scope: Scope, rule: ChangeScope, now_ms: int) -> ScopeState:
        """See the port."""
        return await self._database.write(lambda connection: change_scope(connection, scope, rule, now_ms))

    async def note_uses(self, uses: Sequence[Use]) -> None:
        """See the port."""
        rows = [{"task_id": use.task_id, "lane": use.lane, "used_at": to_text(use.used_at_ms)} for use in uses]
        text = json_text(rows)
        await self._database.write(lambda connection: connection.run("note_uses", rows=text))

    async def uses_since(self, since_ms: int) -> list[Use]:
        """See the port."""
        rows = await self._database.read(
            lambda connection: connection.fetch_all("uses_since", since=to_text(since_ms), limit=MOST_USES)
        )
        return [Use(row["task_id"], row["lane"], from_text(row["used_at"]) or 0) for row in rows]

    async def close(self, scope: Scope, until_ms: int) -> None:
        """See the port."""
        parameters = {"scope": storable(scope), "until": to_text(until_ms)}

        async def close(connection: Connection) -> None:
            await connection.run("close_scope", **parameters)
            await set_value(connection, CLOSED, f"{parameters['scope']} {until_ms}")

        await self._database.write(close)

    async def closures(self, now_ms: int) -> dict[Scope, int]:
        """See the port."""
        rows = await self._database.read(lambda connection: connection.fetch_all("find_closures", now=to_text(now_ms)))
        return {row["scope"]: from_text(row["closed_until"]) or 0 for row in rows}

    async def forget_uses(self, before_ms: int, limit: int = 1_000) -> int:
        """See the port."""

        async def forget(connection: Connection) -> int:
            parameters = {"before": to_text(before_ms), "limit": limit}
            uses = await connection.run("forget_uses", **parameters)
            return uses + await connection.run("forget_closures", **parameters)

        return await self._database.write(forget)


async def change_scope(connection: Connection, scope: Scope, rule: ChangeScope, now_ms: int) -> ScopeState:
    """See `Limits.change`; this is its transaction."""
    scope = storable(scope)
    await connection.fetch_value("lock_ids", task_ids=[VERSION])
    before = await _state(connection, scope)
    after = rule(before)
    if after == before:
        return after
    if after == NOTHING_SET:
        await connection.run("forget_limit", scope=scope)
    else:
        await connection.run("set_limit", scope=scope, value=write_state(after), now=to_text(now_ms))
    await set_value(connection, VERSION, str(await _version(connection) + 1))
    return after


async def _state(connection: Connection, scope: Scope) -> ScopeState:
    return read_state(await connection.fetch_value("find_limit", scope=scope))


async def _version(connection: Connection) -> int:
    return version_in(await get_value(connection, VERSION))
