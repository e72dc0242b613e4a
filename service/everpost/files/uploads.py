"""Receives files of any size: from a stream of bytes to a file on the disk and its record, in flat memory."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from everpost.clock import Clock, to_text
from everpost.errors import ServiceError, Unavailable, UploadLocked, WrongOffset
from everpost.files.arriving import Arrivals, Chunks
from everpost.files.completing import Completion
from everpost.files.digests import Digests
from everpost.files.disk_threads import DiskThreads
from everpost.files.folder_of_uploads import UploadFolder
from everpost.files.names import clean_name, partial_name
from everpost.files.partial import PartialFile
from everpost.files.reserving import Reservations
from everpost.settings import Settings
from everpost.store.files import FileRecord, Files, Upload
from everpost.task.model import new_task_id

MOST_AT_ONCE = 100  # uploads; each has about 1 MB in memory


class Receipt(msgspec.Struct, frozen=True):
    """How far an upload has come; `record` once it is complete."""

    offset: int
    record: FileRecord | None = None


class Uploads:
    """Receives files into the folder of uploads.

    A file appears there under its own name once all of it is on the disk, and its record is written after that.
    """

    def __init__(self, files: Files, settings: Settings, clock: Clock) -> None:
        self.most_bytes = settings.max_media
        self._files = files
        self._clock = clock
        self._folder = UploadFolder(settings.files_root, settings.min_free_disk)
        self._digests = Digests()
        self._disk = DiskThreads(settings.min_free_disk)
        self._reservations = Reservations(files, settings, clock)
        self._arrivals = Arrivals(self._reservations, self._digests, self._disk, clock)
        self._completion = Completion(files, self._folder, self._digests, self._disk, clock, settings.files_quota)
        self._receiving = 0

    def close(self) -> None:
        """Let the threads end."""
        self._disk.close()

    async def begin(
        self, filename: str, size_bytes: int | None, metadata: str = "", submitted_by: str | None = None
    ) -> Upload:
        """Begin an upload.

        Raises:
            BodyTooLarge: It would be larger than a file may be.
            InvalidValue: It would be empty.
            QuotaExceeded: There is no room among the uploads.
            DiskFull: There is no room on the disk.
        """
        self._reservations.check_size(size_bytes)
        now_ms = self._clock()
        upload = Upload(
            file_id=new_task_id(now_ms),
            filename=clean_name(filename),
            size_bytes=size_bytes,
            metadata=metadata,
            created_at=to_text(now_ms),
            expires_at=to_text(now_ms + self._reservations.kept_ms),
            submitted_by=submitted_by,
        )
        try:
            await self._disk.run(self._folder.make_room, upload.file_id, upload.size_bytes or 0)
            await self._reservations.begin(upload)
        except BaseException as error:
            await self._disk.run(self._folder.remove, partial_name(upload.file_id))
            if (meaning := self._disk.meaning_of(error)) is None:
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
        arrived = await self._disk.run(self._folder.arrived, upload.file_id)
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
            upload = await self._reservations.with_size(upload, size_bytes)
        part = await self._disk.run(self._folder.open_part, upload.file_id)
        try:
            if part.size_bytes == 0 and (record := await self._completion.find_complete(upload, part)) is not None:
                return Receipt(record.size_bytes or 0, record)
            if offset != part.size_bytes:
                raise WrongOffset(part.size_bytes)
            await self._arrivals.append(upload, part, chunks)
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
        part = await self._disk.run(self._folder.open_part, upload.file_id)
        try:
            await self._arrivals.append(upload, part, chunks)
            self._reservations.check_size(part.size_bytes)
            return await self._completion.complete(upload, part)
        finally:
            part.close()

    async def abandon(self, upload: Upload) -> bool:
        """Remove an upload that is not complete; False if there is no such upload."""
        self._digests.forget(upload.file_id)
        if not await self._files.abandon_upload(upload.file_id):
            return False
        await self._disk.run(self._folder.remove_upload, upload.file_id)
        return True

    async def unlink_stored(self, record: FileRecord) -> None:
        """Remove the file of a record that the store has removed."""
        await self._disk.run(self._folder.remove, record.file_path)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._receiving >= MOST_AT_ONCE:
            raise Unavailable(f"{MOST_AT_ONCE} uploads arrive, the most at a time.", retry_after_s=5)
        self._receiving += 1
        try:
            yield
        finally:
            self._receiving -= 1

    async def _go_on(self, upload: Upload, part: PartialFile) -> Receipt:
        if upload.size_bytes is None or part.size_bytes < upload.size_bytes:
            await self._disk.run(part.flush)
            await self._reservations.extend(upload)
            return Receipt(part.size_bytes)
        return Receipt(part.size_bytes, await self._completion.complete(upload, part))


async def _nothing() -> Chunks:
    for nothing in list[bytes]():
        yield nothing
