"""Receives files of any size: from a stream of bytes to a file on the disk and its record, in flat memory."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import msgspec
import structlog

from everpost.clock import Clock, to_text
from everpost.errors import (
    BodyTooLarge,
    DiskFull,
    FileNotFound,
    InvalidValue,
    QuotaExceeded,
    ServiceError,
    Unavailable,
    UploadLocked,
    WrongOffset,
)
from everpost.failpoints import failpoint
from everpost.files.digests import Digests
from everpost.files.folder_of_uploads import UploadFolder
from everpost.files.kinds import HEAD_BYTES, kind_of
from everpost.files.names import clean_name, partial_name, stored_name
from everpost.files.partial import PartialFile
from everpost.files.probing import Prober
from everpost.settings import Settings
from everpost.store.files import UPLOADS, FileRecord, Files, QuotaExceededError, Upload, UploadGoneError
from everpost.task.model import new_task_id

log = structlog.get_logger("everpost.files")

HOUR_MS = 3_600_000
WRITE_BYTES = 1 << 20  # bytes that are written and digested in one step of a thread
THREADS = 4  # that write to the disk; a slow one delays uploads only
MOST_AT_ONCE = 100  # uploads; each has about 1 MB in memory

Chunks = AsyncIterator[bytes]
Result = TypeVar("Result")


class Receipt(msgspec.Struct, frozen=True):
    """How far an upload has come; `record` once it is complete."""

    offset: int
    record: FileRecord | None = None


class Uploads:
    """Receives files into the folder of uploads.

    A file appears there under its own name once all of it is on the disk, and its record is written after that.
    """

    def __init__(self, files: Files, settings: Settings, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._folder = UploadFolder(settings.files_root, settings.min_free_disk)
        self.most_bytes = settings.max_media
        self._quota_bytes = settings.files_quota
        self._least_free_bytes = settings.min_free_disk
        self._kept_ms = settings.upload_hours * HOUR_MS
        self._digests = Digests()
        self._prober = Prober()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="uploads")
        self._receiving = 0

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=False)

    async def begin(self, filename: str, size_bytes: int | None, metadata: str = "") -> Upload:
        """Begin an upload.

        Raises:
            BodyTooLarge: It would be larger than a file may be.
            InvalidValue: It would be empty.
            QuotaExceeded: There is no room among the uploads.
            DiskFull: There is no room on the disk.
        """
        self._check_size(size_bytes)
        now_ms = self._clock()
        upload = Upload(
            file_id=new_task_id(now_ms),
            filename=clean_name(filename),
            size_bytes=size_bytes,
            metadata=metadata,
            created_at=to_text(now_ms),
            expires_at=to_text(now_ms + self._kept_ms),
        )
        try:
            await self._in_thread(self._folder.make_room, upload.file_id, upload.size_bytes or 0)
            await self._files.begin_upload(upload, self._quota_bytes)
        except BaseException as error:
            await self._in_thread(self._folder.remove, partial_name(upload.file_id))
            if (meaning := self._meaning_of(error)) is None:
                raise
            raise meaning from error
        return upload

    async def find(self, file_id: str) -> tuple[Upload, Receipt] | None:
        """An upload, and how far it has come; None if there is no such upload.

        If everything has arrived, but the process died before it could say so, the upload is completed now.
        """
        upload = await self._files.find_upload(file_id)
        if upload is None:
            return None
        arrived = await self._in_thread(self._folder.arrived, upload.file_id)
        if arrived != upload.size_bytes:
            return upload, Receipt(arrived)
        try:
            return upload, await self.receive(upload, arrived, _nothing())
        except UploadLocked:  # the request that sent the end is completing it
            return upload, Receipt(arrived)

    async def receive(self, upload: Upload, offset: int, chunks: Chunks, *, size_bytes: int | None = None) -> Receipt:
        """Add what arrives to an upload, and complete it if that was the end.

        What has arrived stays if the client hangs up. All that is answered is on the disk.

        Args:
            offset: Where the client wants to continue.
            size_bytes: How long the file is, if the client says it only now.

        Raises:
            WrongOffset: The upload is at another byte.
            UploadLocked: Another request is sending to it.
            BodyTooLarge: More arrives than the file has, or may have.
            QuotaExceeded, DiskFull: There is no room. What has arrived stays, and can be continued.
            Unavailable: Too many uploads arrive at once.
        """
        with self._counted():
            return await self._receive(upload, offset, chunks, size_bytes)

    async def _receive(self, upload: Upload, offset: int, chunks: Chunks, size_bytes: int | None) -> Receipt:
        if size_bytes is not None:
            upload = await self._with_size(upload, size_bytes)
        part = await self._in_thread(self._folder.open_part, upload.file_id)
        try:
            if part.size_bytes == 0 and (record := await self._found_complete(upload, part)) is not None:
                return Receipt(record.size_bytes or 0, record)
            if offset != part.size_bytes:
                raise WrongOffset(part.size_bytes)
            await self._append(upload, part, chunks)
            return await self._go_on(upload, part)
        finally:
            part.close()

    async def receive_whole(self, upload: Upload, chunks: Chunks) -> FileRecord:
        """Receive a whole file at once; nothing of it stays if that fails.

        Raises the errors of `receive`.
        """
        try:
            with self._counted():
                return await self._receive_whole(upload, chunks)
        except BaseException:
            with suppress(ServiceError):  # otherwise upkeep removes it when it has expired
                await asyncio.shield(self.abandon(upload))
            raise

    async def _receive_whole(self, upload: Upload, chunks: Chunks) -> FileRecord:
        part = await self._in_thread(self._folder.open_part, upload.file_id)
        try:
            await self._append(upload, part, chunks)
            self._check_size(part.size_bytes)
            return await self._complete(upload, part)
        finally:
            part.close()

    async def abandon(self, upload: Upload) -> bool:
        """Remove an upload that is not complete; False if there is no such upload."""
        self._digests.forget(upload.file_id)
        if not await self._files.abandon_upload(upload.file_id):
            return False
        await self._in_thread(self._folder.remove_upload, upload.file_id)
        return True

    async def unlink_stored(self, record: FileRecord) -> None:
        """Remove the file of a record that the store has removed."""
        await self._in_thread(self._folder.remove, record.file_path)

    async def _with_size(self, upload: Upload, size_bytes: int) -> Upload:
        self._check_size(size_bytes)
        sized = msgspec.structs.replace(upload, size_bytes=size_bytes)
        if upload.size_bytes == size_bytes:
            return upload
        if upload.size_bytes is not None:
            raise InvalidValue("The length of an upload cannot be changed.", "Upload-Length")
        await self._extend(sized)
        return sized

    async def _extend(self, upload: Upload) -> None:
        later = msgspec.structs.replace(upload, expires_at=to_text(self._clock() + self._kept_ms))
        try:
            is_there = await self._files.extend_upload(later, self._quota_bytes)
        except QuotaExceededError as error:
            raise QuotaExceeded(self._quota_bytes) from error
        if not is_there:
            raise FileNotFound(upload.file_id)

    async def _in_thread(self, function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        call = partial(function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._receiving >= MOST_AT_ONCE:
            raise Unavailable(f"{MOST_AT_ONCE} uploads arrive, the most at a time.", retry_after_s=5)
        self._receiving += 1
        try:
            yield
        finally:
            self._receiving -= 1

    async def _append(self, upload: Upload, part: PartialFile, chunks: Chunks) -> None:
        most_bytes = self.most_bytes if upload.size_bytes is None else upload.size_bytes
        sha256 = self._digests.take(upload.file_id, part.size_bytes)
        waiting: list[bytes] = []
        size, extend_at_ms = 0, self._clock() + self._kept_ms // 2
        try:
            async for chunk in chunks:
                waiting.append(chunk)
                size += len(chunk)
                if part.size_bytes + size > most_bytes:
                    waiting.clear()
                    raise BodyTooLarge(most_bytes)
                if size >= WRITE_BYTES:
                    data, waiting, size = b"".join(waiting), [], 0
                    await self._write(part, sha256, data)
                    if self._clock() > extend_at_ms:
                        extend_at_ms = self._clock() + self._kept_ms // 2
                        await self._extend(upload)
        finally:  # also if the client has hung up: it continues here
            if waiting:
                await asyncio.shield(self._write(part, sha256, b"".join(waiting)))
            if sha256 is not None:
                self._digests.keep(upload.file_id, part.size_bytes, sha256)

    async def _write(self, part: PartialFile, sha256: Any, data: bytes) -> None:
        def write() -> None:
            failpoint("upload.write")
            part.append(data)
            if sha256 is not None:
                sha256.update(data)

        try:
            await self._in_thread(write)
        except OSError as error:
            raise self._meaning_of(error) or error from error

    async def _go_on(self, upload: Upload, part: PartialFile) -> Receipt:
        if upload.size_bytes is None or part.size_bytes < upload.size_bytes:
            await self._in_thread(part.flush)
            await self._extend(upload)
            return Receipt(part.size_bytes)
        return Receipt(part.size_bytes, await self._complete(upload, part))

    async def _complete(self, upload: Upload, part: PartialFile) -> FileRecord:
        """Have the whole file on the disk under its name, then write its record."""
        sha256 = self._digests.take(upload.file_id, part.size_bytes)
        changed_ns = await self._in_thread(part.flush)
        digest = await self._in_thread(part.digest) if sha256 is None else sha256.hexdigest()
        kind = kind_of(await self._in_thread(part.head, HEAD_BYTES), upload.filename)
        facts = await self._prober.facts_of(part.path.absolute(), kind.content_type)
        name = stored_name(upload.file_id, upload.filename, kind.extension)
        failpoint("upload.before_rename")
        try:
            await self._in_thread(self._folder.give_name, part.path, name)
        except FileNotFoundError as error:  # the upload was removed meanwhile
            raise FileNotFound(upload.file_id) from error
        failpoint("upload.before_record")
        record = FileRecord(
            file_id=upload.file_id,
            root=UPLOADS,
            file_path=name,
            filename=upload.filename,
            size_bytes=part.size_bytes,
            sha256=digest,
            content_type=kind.content_type,
            width=facts.width,
            height=facts.height,
            duration=facts.duration_s,
            changed_ns=changed_ns,
            created_at=to_text(self._clock()),
        )
        kept = await self._keep(record)
        log.info("file.stored", file_id=kept.file_id, size_bytes=kept.size_bytes, content_type=kept.content_type)
        return kept

    async def _keep(self, record: FileRecord) -> FileRecord:
        try:
            return await self._files.keep(record, self._quota_bytes)
        except (QuotaExceededError, UploadGoneError) as error:
            await self._in_thread(self._folder.remove, record.file_path)
            if isinstance(error, UploadGoneError):
                raise FileNotFound(record.file_id) from error
            raise QuotaExceeded(self._quota_bytes) from error

    async def _found_complete(self, upload: Upload, part: PartialFile) -> FileRecord | None:
        """The record of an upload whose file has its name already; None if nothing of it has arrived.

        If the process died before it wrote the record, the record is written now. Nobody else does so meanwhile, since
        `part` is locked.

        Raises:
            FileNotFound: The upload was removed, and is not complete.
        """
        if await self._files.find_upload(upload.file_id) is None:  # it was completed or removed since it was found
            await self._in_thread(part.remove)
            record = (await self._files.find([upload.file_id])).get(upload.file_id)
            if record is None:
                raise FileNotFound(upload.file_id)
            return record
        found = await self._in_thread(self._folder.find_named, upload.file_id)
        if found is None:
            return None
        await self._in_thread(found.rename, part.path)
        whole = await self._in_thread(self._folder.open_part, upload.file_id)
        try:
            return await self._complete(upload, whole)
        finally:
            whole.close()

    def _check_size(self, size_bytes: int | None) -> None:
        if size_bytes == 0:
            raise InvalidValue("The file is empty.")
        if size_bytes is not None and size_bytes > self.most_bytes:
            raise BodyTooLarge(self.most_bytes)

    def _meaning_of(self, error: BaseException) -> ServiceError | None:
        if isinstance(error, QuotaExceededError):
            return QuotaExceeded(self._quota_bytes)
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return DiskFull(0, self._least_free_bytes, f"The disk of uploads is full ({error.strerror}).")
        if isinstance(error, OSError):
            return Unavailable(f"The folder of uploads cannot be written: {error.strerror}.", retry_after_s=5)
        return None


async def _nothing() -> Chunks:
    for nothing in list[bytes]():
        yield nothing
