"""From a record to its file on the disk, which must still be the one that the record describes."""

import asyncio
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from everpost.errors import InvalidValue
from everpost.files.kinds import HEAD_BYTES, UNKNOWN, kind_of
from everpost.publishing.errors import InvalidError, PublishError
from everpost.publishing.media import Media, MediaFacts, find_media, open_under, too_large
from everpost.settings import Settings
from everpost.store.files import UPLOADS, FileRecord, Files
from everpost.task.file_refs import FileRef, file_refs_of, is_own_id

READ_BYTES = 1 << 20


class FileLookup:
    """Finds the files that tasks name.

    Attributes:
        has_inherited: Whether the store has records of the original; None until it was asked.
    """

    def __init__(self, files: Files, settings: Settings) -> None:
        self._files = files
        self._media_root = settings.media_root
        self._uploads_root = settings.files_root
        self._most_bytes = settings.max_media
        self.has_inherited: bool | None = None

    async def find(self, data: Mapping[str, Any]) -> tuple[Media, ...]:
        """The files of a task, in its order. An id that is the client's own, not Everpost's, stands for no file.

        Raises:
            InvalidError: A file is missing, too large or no longer the same, or is named in a wrong way.
            PublishError: A file cannot be read.
            ServiceError: The store cannot be read.
        """
        try:
            refs = file_refs_of(data)
        except InvalidValue as error:
            raise InvalidError(f"{error.path}: {error.message}") from error
        records = await self.records_of([ref.key for ref in refs if ref.key is not None])
        found = [await self._find(ref, records) for ref in refs]
        return tuple(media for media in found if media is not None)

    def is_clients_own(self, file_id: Any) -> bool:
        """Whether it is known without asking the store that an id is none of Everpost's."""
        return self.has_inherited is False and (type(file_id) is int or not is_own_id(str(file_id)))

    def names_none(self, data: Mapping[str, Any]) -> bool:
        """Whether it is known without asking the store that a task names no file. This is on the hot path."""
        if data.get("files") or data.get("file_path"):
            return False
        file_id = data.get("file_id")
        return file_id is None or self.is_clients_own(file_id)

    async def records_of(self, keys: list[str]) -> Mapping[str, FileRecord]:
        """The records with these ids."""
        if self.has_inherited is None and not all(map(is_own_id, keys)):
            self.has_inherited = await self._files.has_inherited()
        asked = [key for key in keys if not self.is_clients_own(key)]
        return await self._files.find(asked) if asked else {}

    async def _find(self, ref: FileRef, records: Mapping[str, FileRecord]) -> Media | None:
        if ref.file_path:
            media = await find_media(ref.file_path, self._media_root, self._most_bytes)
            return media if ref.alt is None else msgspec.structs.replace(media, alt=ref.alt)
        key = ref.key or ""
        record = records.get(key)
        if record is not None:
            return await self.media_of(record, ref.alt)
        if is_own_id(key):
            raise InvalidError(f"There is no file {key!r}: it was deleted, or has expired.")
        return None

    async def find_path(self, file_path: str) -> Media:
        """The file at a path below EVERPOST_MEDIA; its type by its content.

        Raises:
            PublishError: It is missing or cannot be read.
        """
        media = await find_media(file_path, self._media_root, self._most_bytes)
        return msgspec.structs.replace(media, content_type=await asyncio.to_thread(_kind_of, media))

    async def media_of(self, record: FileRecord, alt: str | None = None) -> Media:
        """The file of a record.

        Its content is read again only if its time of change is another one than when it was stored.

        Raises:
            InvalidError: It is missing, too large, or has another content.
            PublishError: It cannot be read.
        """
        root = await self.root_of(record)
        try:
            size_bytes, content_type = await asyncio.to_thread(self._check, root, record)
        except PublishError as error:
            raise type(error)(f"The file {record.file_id} ({record.filename}): {error}") from error
        return Media(
            path=root / record.file_path,
            size_bytes=size_bytes,
            filename=record.filename,
            content_type=content_type,
            root=root,
            file_id=record.file_id,
            sha256=record.sha256,
            alt=alt,
            facts=MediaFacts(width=record.width, height=record.height, duration_s=record.duration),
        )

    async def root_of(self, record: FileRecord) -> Path:
        """The folder below which the file of a record is.

        Raises:
            InvalidError: The folder is not registered any more.
        """
        if record.root is None:
            return self._media_root
        if record.root == UPLOADS:
            return self._uploads_root
        folder = (await self._files.roots()).get(record.root)
        if folder is None:
            raise InvalidError(f"The file {record.file_id} is in the folder {record.root!r}, which is not registered.")
        return Path(folder)

    def _check(self, root: Path, record: FileRecord) -> tuple[int, str]:
        """The size and type of the file; this blocks."""
        with open_under(root, record.file_path, _shown(record)) as file:
            found = os.fstat(file.fileno())
            if found.st_size > self._most_bytes:
                raise InvalidError(too_large(found.st_size, self._most_bytes))
            if record.size_bytes is not None and found.st_size != record.size_bytes:
                raise InvalidError(
                    f"It has {found.st_size:,} bytes now, and had {record.size_bytes:,}: it was changed."
                )
            if record.changed_ns is not None and found.st_mtime_ns != record.changed_ns:
                _check_digest(file, record)
            if record.content_type is not None:
                return found.st_size, record.content_type
            kind = kind_of(file.read(HEAD_BYTES), record.filename)  # of an inherited record
        return found.st_size, kind.content_type or UNKNOWN


def _kind_of(media: Media) -> str:
    with media.open_file() as file:
        return kind_of(file.read(HEAD_BYTES), media.filename).content_type


def _check_digest(file: BinaryIO, record: FileRecord) -> None:
    sha256 = hashlib.sha256()
    while part := file.read(READ_BYTES):
        sha256.update(part)
    if record.sha256 is not None and sha256.hexdigest() != record.sha256:
        raise InvalidError("Its content is not the same as when it was stored: it was changed.")


def _shown(record: FileRecord) -> str:
    return {None: "EVERPOST_MEDIA", UPLOADS: "EVERPOST_FILES"}.get(record.root, f"the folder {record.root!r}")
