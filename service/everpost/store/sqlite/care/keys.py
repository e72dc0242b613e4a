"""The port's keys on SQLite, tables `api_keys` and `sessions`."""

from collections.abc import Mapping, Sequence
from typing import Any

from everpost.access import KeyRecord, SessionRecord
from everpost.store.keys import VERSION, key_of, new_version, row_of_key, row_of_session, session_of
from everpost.store.sqlite.care.meta import set_value
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load


class SqliteKeys:
    """See `everpost.store.keys.Keys`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: KeyRecord, *, replaces: str | None = None, until: str | None = None) -> KeyRecord | None:
        """See the port."""
        row = row_of_key(key) | {"replaces": replaces}
        replaced = {"replaces": replaces, "until": until}

        def add(connection: sqlite3.Connection) -> KeyRecord | None:
            if not connection.execute(load("add_key"), row).rowcount:
                return None
            if replaces is not None:
                connection.execute(load("replace_key"), replaced)
            set_value(connection, VERSION, new_version())
            return key

        return await self._database.write(add)

    async def all(self) -> list[KeyRecord]:
        """See the port."""
        rows = await self._database.read(lambda connection: connection.execute(load("find_keys")).fetchall())
        return [_key(row) for row in rows]

    async def revoke(self, key_id: str, now: str, by: str) -> KeyRecord | None:
        """See the port."""

        def revoke(connection: sqlite3.Connection) -> KeyRecord | None:
            if connection.execute(load("revoke_key"), {"key_id": key_id, "now": now, "by": by}).rowcount:
                connection.execute(load("remove_sessions_of_key"), {"key_id": key_id})
                set_value(connection, VERSION, new_version())
            row = connection.execute(load("find_key"), {"key_id": key_id}).fetchone()
            return None if row is None else _key(row)

        return await self._database.write(revoke)

    async def note_used(self, used: Sequence[str], now: str) -> None:
        """See the port."""
        rows = [{"key_id": key_id, "now": now} for key_id in used]
        await self._database.write(lambda connection: connection.executemany(load("note_key_used"), rows).rowcount)

    async def begin_session(self, session: SessionRecord) -> None:
        """See the port."""

        def begin(connection: sqlite3.Connection) -> None:
            connection.execute(load("remove_expired_sessions"), {"now": session.created_at})
            connection.execute(load("add_session"), row_of_session(session))

        await self._database.write(begin)

    async def find_session(self, digest: str) -> SessionRecord | None:
        """See the port."""
        row = await self._database.read(
            lambda connection: connection.execute(load("find_session"), {"digest": digest}).fetchone()
        )
        return None if row is None else session_of(dict(zip(SessionRecord.__struct_fields__, row, strict=True)))

    async def note_session(self, digest: str, now: str) -> None:
        """See the port."""
        await self._run("note_session", {"digest": digest, "now": now})

    async def end_session(self, digest: str) -> None:
        """See the port."""
        await self._run("end_session", {"digest": digest})

    async def _run(self, name: str, values: Mapping[str, Any]) -> None:
        await self._database.write(lambda connection: connection.execute(load(name), values).rowcount)


def _key(row: Sequence[Any]) -> KeyRecord:
    return key_of(dict(zip(KeyRecord.__struct_fields__, row, strict=True)))
