"""The port's noun `files` on SQLite: see `everpost.store.files.Files`."""

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
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.media.uses import find_users, forget_uses
from everpost.store.sqlite.queries import load

LAST = sys.maxsize  # above every number of a row


class SqliteFiles:
    """See `everpost.store.files.Files`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin_upload(self, upload: Upload, quota_bytes: int) -> None:
        """See `Files.begin_upload`."""

        def begin(connection: sqlite3.Connection) -> None:
            _check_quota(connection, upload.size_bytes or 0, quota_bytes)
            connection.execute(load("begin_upload"), msgspec.structs.asdict(upload))

        await self._database.write(begin)

    async def find_upload(self, file_id: str) -> Upload | None:
        """See `Files.find_upload`."""
        return await self._database.read(partial(_find_upload, file_id=file_id))

    async def extend_upload(self, upload: Upload, quota_bytes: int) -> bool:
        """See `Files.extend_upload`."""

        def extend(connection: sqlite3.Connection) -> bool:
            found = _find_upload(connection, file_id=upload.file_id)
            if found is None:
                return False
            _check_quota(connection, (upload.size_bytes or 0) - (found.size_bytes or 0), quota_bytes)
            values = {name: getattr(upload, name) for name in ("file_id", "size_bytes", "expires_at")}
            return connection.execute(load("extend_upload"), values).rowcount > 0

        return await self._database.write(extend)

    async def abandon_upload(self, file_id: str) -> bool:
        """See `Files.abandon_upload`."""
        return await self._database.write(
            lambda connection: connection.execute(load("forget_upload"), {"file_id": file_id}).rowcount > 0
        )

    async def take_expired_uploads(self, now: str, limit: int) -> list[Upload]:
        """See `Files.take_expired_uploads`."""
        given = {"now": now, "limit": limit}
        return await self._database.write(
            lambda connection: [
                _upload(row) for row in connection.execute(load("take_expired_uploads"), given).fetchall()
            ]
        )

    async def keep(self, record: FileRecord, quota_bytes: int = 0) -> FileRecord:
        """See `Files.keep`."""
        return await self._database.write(partial(_keep, record=record, quota_bytes=quota_bytes))

    async def find(self, file_ids: Collection[str]) -> dict[str, FileRecord]:
        """See `Files.find`."""
        given = {"file_ids": msgspec.json.encode(list(file_ids)).decode()}
        records = await self._database.read(partial(_records, statement="find_files", given=given))
        return {record.file_id: record for record in records}

    async def find_placed(self, root: str, file_paths: Sequence[str]) -> dict[str, FileRecord]:
        """See `Files.find_placed`."""
        given = {"root": root, "file_paths": msgspec.json.encode(file_paths).decode()}
        records = await self._database.read(partial(_records, statement="find_placed_files", given=given))
        return {record.file_path: record for record in records}

    async def page(self, before: int | None, limit: int, submitted_by: str | None = None) -> list[FileRecord]:
        """See `Files.page`."""
        given = {"before": LAST if before is None else before, "limit": limit, "submitted_by": submitted_by}
        return await self._database.read(partial(_records, statement="page_files", given=given))

    async def users(self, file_id: str, reach: Sequence[str] | None = None) -> list[str]:
        """See `Files.users`."""
        return await self._database.read(partial(find_users, file_id=file_id, limit=MOST_USERS, reach=reach))

    async def remove(self, file_id: str) -> Removed:
        """See `Files.remove`."""
        return await self._database.write(partial(_remove, file_id=file_id))

    async def take_unused(self, before: str, limit: int) -> list[FileRecord]:
        """See `Files.take_unused`."""
        given = {"before": before, "limit": limit}
        return await self._database.write(partial(_records, statement="take_unused_files", given=given))

    async def forget_uses(self, now: str, limit: int) -> int:
        """See `Files.forget_uses`. Nothing is written if nothing has ended."""
        if not await self._database.read(
            lambda connection: connection.execute(load("ended_uses"), {"limit": 1}).fetchone()
        ):
            return 0
        return await self._database.write(partial(forget_uses, now=now, limit=limit))

    async def has_inherited(self) -> bool:
        """See `Files.has_inherited`."""
        row = await self._database.read(lambda connection: connection.execute(load("has_inherited_files")).fetchone())
        return bool(row[0])

    async def usage(self) -> Usage:
        """See `Files.usage`."""
        return await self._database.read(_usage)

    async def roots(self) -> Mapping[str, str]:
        """See `Files.roots`."""
        return dict(await self._database.read(lambda connection: connection.execute(load("find_roots")).fetchall()))

    async def set_root(self, name: str, folder: str | None) -> None:
        """See `Files.set_root`."""

        def set_root(connection: sqlite3.Connection) -> None:
            if folder is not None:
                connection.execute(load("set_root"), {"name": name, "folder": folder})
                return
            connection.execute(load("forget_files_of_root"), {"name": name})
            connection.execute(load("forget_root"), {"name": name})

        await self._database.write(set_root)


def _keep(connection: sqlite3.Connection, *, record: FileRecord, quota_bytes: int) -> FileRecord:
    values = {name: getattr(record, name) for name in _KEPT}
    by_id = {"file_ids": msgspec.json.encode([record.file_id]).decode()}
    if known := _records(connection, statement="find_files", given=by_id):
        return known[0]
    by_place = {"root": record.root, "file_paths": msgspec.json.encode([record.file_path]).decode()}
    if record.root not in {None, UPLOADS} and _records(connection, statement="find_placed_files", given=by_place):
        connection.execute(load("update_file"), {name: values[name] for name in _KEPT if name not in _NOT_CHANGED})
        return _records(connection, statement="find_placed_files", given=by_place)[0]
    forgotten = connection.execute(load("forget_upload"), {"file_id": record.file_id}).rowcount
    if record.root == UPLOADS and not forgotten:
        raise UploadGoneError
    if record.size_bytes is not None:
        _check_quota(connection, record.size_bytes, quota_bytes)
    connection.execute(load("add_file"), values)
    return _records(connection, statement="find_files", given=by_id)[0]


_KEPT = (
    "file_id", "root", "file_path", "filename", "size_bytes", "sha256", "content_type", "width", "height", "duration",
    "changed_ns", "created_at", "submitted_by",
)  # fmt: skip
_NOT_CHANGED = frozenset({"file_id", "created_at", "submitted_by"})


def _remove(connection: sqlite3.Connection, *, file_id: str) -> Removed:
    by_id = {"file_ids": msgspec.json.encode([file_id]).decode()}
    found = _records(connection, statement="find_files", given=by_id)
    if not found:
        return Removed(None)
    if users := find_users(connection, file_id=file_id, limit=MOST_USERS):
        return Removed(None, users)
    connection.execute(load("remove_file"), {"file_id": file_id})
    return Removed(found[0])


def _usage(connection: sqlite3.Connection) -> Usage:
    stored = connection.execute(load("count_stored")).fetchone()
    return Usage(*stored, *connection.execute(load("count_uploads")).fetchone())


def _check_quota(connection: sqlite3.Connection, more_bytes: int, quota_bytes: int) -> None:
    if quota_bytes and more_bytes > 0:
        usage = _usage(connection)
        if usage.size_bytes + usage.upload_bytes + more_bytes > quota_bytes:
            raise QuotaExceededError


def _find_upload(connection: sqlite3.Connection, *, file_id: str) -> Upload | None:
    row = connection.execute(load("find_upload"), {"file_id": file_id}).fetchone()
    return None if row is None else _upload(row)


def _upload(row: Sequence[Any]) -> Upload:
    return Upload(**dict(zip(Upload.__struct_fields__, row, strict=True)))


def _records(connection: sqlite3.Connection, *, statement: str, given: Mapping[str, Any]) -> list[FileRecord]:
    rows = connection.execute(load(statement), given).fetchall()
    return [FileRecord(**dict(zip(FileRecord.__struct_fields__, row, strict=True))) for row in rows]
