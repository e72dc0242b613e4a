"""The port's noun `files` on PostgreSQL: see `everpost.store.files.Files`."""

import sys
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from everpost.store.files import (
    MOST_USERS,
    UPLOADS,
    FileRecord,
    QuotaExceededError,
    Removed,
    Upload,
    UploadGoneError,
    Usage,
)
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.texts import json_text, plain_text, storable
from everpost.store.postgresql.media.uses import find_users, forget_uses

LAST = sys.maxsize  # above every number of a row
QUOTA = "files.quota"  # the name of the lock of those who take room


class PostgresqlFiles:
    """See `everpost.store.files.Files`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin_upload(self, upload: Upload, quota_bytes: int) -> None:
        """See `Files.begin_upload`."""

        async def begin(connection: Connection) -> None:
            await _check_quota(connection, upload.size_bytes or 0, quota_bytes)
            values = msgspec.structs.asdict(upload)
            await connection.run("begin_upload", **{name: _plain(value) for name, value in values.items()})

        await self._database.write(begin)

    async def find_upload(self, file_id: str) -> Upload | None:
        """See `Files.find_upload`."""
        return await self._database.read(partial(_find_upload, file_id=file_id))

    async def extend_upload(self, upload: Upload, quota_bytes: int) -> bool:
        """See `Files.extend_upload`."""

        async def extend(connection: Connection) -> bool:
            found = await _find_upload(connection, file_id=upload.file_id)
            if found is None:
                return False
            await _check_quota(connection, (upload.size_bytes or 0) - (found.size_bytes or 0), quota_bytes)
            values = {name: getattr(upload, name) for name in ("file_id", "size_bytes", "expires_at")}
            return await connection.run("extend_upload", **values) > 0

        return await self._database.write(extend)

    async def abandon_upload(self, file_id: str) -> bool:
        """See `Files.abandon_upload`."""
        return await self._database.write(lambda connection: connection.run("forget_upload", file_id=file_id)) > 0

    async def take_expired_uploads(self, now: str, limit: int) -> list[Upload]:
        """See `Files.take_expired_uploads`."""

        async def take(connection: Connection) -> list[Upload]:
            return [Upload(**row) for row in await connection.fetch_all("take_expired_uploads", now=now, limit=limit)]

        return await self._database.write(take)

    async def keep(self, record: FileRecord, quota_bytes: int = 0) -> FileRecord:
        """See `Files.keep`."""
        return await self._database.write(partial(_keep, record=record, quota_bytes=quota_bytes))

    async def find(self, file_ids: Collection[str]) -> dict[str, FileRecord]:
        """See `Files.find`."""
        wanted = [storable(file_id) for file_id in file_ids]
        rows = await self._read("find_files", file_ids=wanted)
        return {row["file_id"]: FileRecord(**row) for row in rows}

    async def find_placed(self, root: str, file_paths: Sequence[str]) -> dict[str, FileRecord]:
        """See `Files.find_placed`."""
        rows = await self._read("find_placed_files", root=root, file_paths=list(file_paths))
        return {row["file_path"]: FileRecord(**row) for row in rows}

    async def page(self, before: int | None, limit: int, submitted_by: str | None = None) -> list[FileRecord]:
        """See `Files.page`."""
        given = {"before": LAST if before is None else before, "limit": limit, "submitted_by": _plain(submitted_by)}
        rows = await self._read("page_files", **given)
        return [FileRecord(**row) for row in rows]

    async def users(self, file_id: str, reach: Sequence[str] | None = None) -> list[str]:
        """See `Files.users`."""
        return await self._database.read(partial(find_users, file_id=file_id, limit=MOST_USERS, reach=reach))

    async def remove(self, file_id: str) -> Removed:
        """See `Files.remove`."""
        return await self._database.write(partial(_remove, file_id=storable(file_id)))

    async def take_unused(self, before: str, limit: int) -> list[FileRecord]:
        """See `Files.take_unused`."""

        async def take(connection: Connection) -> list[FileRecord]:
            rows = await connection.fetch_all("take_unused_files", before=before, limit=limit)
            return [FileRecord(**row) for row in rows]

        return await self._database.write(take)

    async def forget_uses(self, now: str, limit: int) -> int:
        """See `Files.forget_uses`. Nothing is written if nothing has ended."""
        if not await self._read("ended_uses", limit=1):
            return 0
        return await self._database.write(partial(forget_uses, now=now, limit=limit))

    async def has_inherited(self) -> bool:
        """See `Files.has_inherited`."""
        found: bool = await self._database.read(lambda connection: connection.fetch_value("has_inherited_files"))
        return found

    async def usage(self) -> Usage:
        """See `Files.usage`."""
        return await self._database.read(_usage)

    async def roots(self) -> Mapping[str, str]:
        """See `Files.roots`."""
        return {row["name"]: row["folder"] for row in await self._read("find_roots")}

    async def set_root(self, name: str, folder: str | None) -> None:
        """See `Files.set_root`."""

        async def set_root(connection: Connection) -> None:
            if folder is not None:
                await connection.run("set_root", name=name, folder=folder)
                return
            await connection.run("forget_files_of_root", name=name)
            await connection.run("forget_root", name=name)

        await self._database.write(set_root)

    async def _read(self, statement: str, **parameters: Any) -> list[Record]:
        return await self._database.read(lambda connection: connection.fetch_all(statement, **parameters))


def _plain(value: str | int | None) -> str | int | None:
    return plain_text(value) if isinstance(value, str) else value


async def _keep(connection: Connection, *, record: FileRecord, quota_bytes: int) -> FileRecord:
    await connection.fetch_value("lock_ids", task_ids=[f"{record.root}/{record.file_path}"])
    if known := await connection.fetch_one("find_files", file_ids=[record.file_id]):
        return FileRecord(**known)
    text = json_text(msgspec.structs.asdict(record))
    place = {"root": record.root, "file_path": plain_text(record.file_path)}
    if record.root not in {None, UPLOADS} and await connection.run("update_file", record=text, **place):
        found = await connection.fetch_one("find_placed_files", root=record.root, file_paths=[place["file_path"]])
    else:
        if not await connection.run("forget_upload", file_id=record.file_id) and record.root == UPLOADS:
            raise UploadGoneError
        await _check_quota(connection, record.size_bytes or 0, quota_bytes)
        await connection.run("add_file", record=text)
        found = await connection.fetch_one("find_files", file_ids=[record.file_id])
    assert found is not None, "it was written just now"
    return FileRecord(**found)


async def _remove(connection: Connection, *, file_id: str) -> Removed:
    """The row is locked first, so a task that names the file is written before this, or does not find the file."""
    row = await connection.fetch_one("lock_file", file_id=file_id)
    if row is None:
        return Removed(None)
    if users := await find_users(connection, file_id=file_id, limit=MOST_USERS):
        return Removed(None, users)
    await connection.run("remove_file", file_id=file_id)
    return Removed(FileRecord(**row))


async def _usage(connection: Connection) -> Usage:
    stored = await connection.fetch_one("count_stored")
    uploads = await connection.fetch_one("count_uploads")
    return Usage(**(stored or {}), **(uploads or {}))


async def _check_quota(connection: Connection, more_bytes: int, quota_bytes: int) -> None:
    if quota_bytes and more_bytes > 0:
        await connection.fetch_value("lock_ids", task_ids=[QUOTA])
        usage = await _usage(connection)
        if usage.size_bytes + usage.upload_bytes + more_bytes > quota_bytes:
            raise QuotaExceededError


async def _find_upload(connection: Connection, *, file_id: str) -> Upload | None:
    row = await connection.fetch_one("find_upload", file_id=storable(file_id))
    return None if row is None else Upload(**row)
