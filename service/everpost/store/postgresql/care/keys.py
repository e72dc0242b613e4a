"""The port's keys on PostgreSQL, tables `api_keys` and `sessions`."""

from collections.abc import Sequence

from everpost.access import KeyRecord, SessionRecord
from everpost.store.keys import VERSION, key_of, new_version, row_of_key, row_of_session, session_of
from everpost.store.postgresql.care.meta import set_value
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.texts import storable

NEVER_CHANGED = ("revoked_at", "revoked_by", "last_used_at")  # of a new key


class PostgresqlKeys:
    """See `everpost.store.keys.Keys`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: KeyRecord, *, replaces: str | None = None, until: str | None = None) -> KeyRecord | None:
        """See the port."""
        row = {name: value for name, value in row_of_key(key).items() if name not in NEVER_CHANGED}

        async def add(connection: Connection) -> KeyRecord | None:
            await connection.run("lock_keys")
            if not await connection.run("add_key", **row, replaces=replaces):
                return None
            if replaces is not None:
                await connection.run("replace_key", replaces=replaces, until=until)
            await set_value(connection, VERSION, new_version())
            return key

        return await self._database.write(add)

    async def all(self) -> list[KeyRecord]:
        """See the port."""
        rows = await self._database.read(lambda connection: connection.fetch_all("find_keys"))
        return [key_of(row) for row in rows]

    async def revoke(self, key_id: str, now: str, by: str) -> KeyRecord | None:
        """See the port."""

        async def revoke(connection: Connection) -> KeyRecord | None:
            if await connection.run("revoke_key", key_id=storable(key_id), now=now, by=storable(by)):
                await connection.run("remove_sessions_of_key", key_id=storable(key_id))
                await set_value(connection, VERSION, new_version())
            row = await connection.fetch_one("find_key", key_id=storable(key_id))
            return None if row is None else key_of(row)

        return await self._database.write(revoke)

    async def note_used(self, used: Sequence[str], now: str) -> None:
        """See the port."""

        async def note(connection: Connection) -> None:
            for key_id in sorted(used):  # in one order, so that two processes do not wait for each other
                await connection.run("note_key_used", key_id=key_id, now=now)

        await self._database.write(note)

    async def begin_session(self, session: SessionRecord) -> None:
        """See the port."""

        async def begin(connection: Connection) -> None:
            await connection.run("remove_expired_sessions", now=session.created_at)
            await connection.run("add_session", **row_of_session(session))

        await self._database.write(begin)

    async def find_session(self, digest: str) -> SessionRecord | None:
        """See the port."""
        row = await self._database.read(lambda connection: connection.fetch_one("find_session", digest=digest))
        return None if row is None else session_of(row)

    async def note_session(self, digest: str, now: str) -> None:
        """See the port."""
        await self._database.write(lambda connection: connection.run("note_session", digest=digest, now=now))

    async def end_session(self, digest: str) -> None:
        """See the port."""
        await self._database.write(lambda connection: connection.run("end_session", digest=digest))
