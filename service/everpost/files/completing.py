"""Makes a stored file of an upload that has arrived whole: the file has its name on the disk, then it has a record."""

import structlog

from everpost.clock import Clock, to_text
from everpost.errors import FileNotFound, QuotaExceeded
from everpost.failpoints import failpoint
from everpost.files.digests import Digests
from everpost.files.disk_threads import DiskThreads
from everpost.files.folder_of_uploads import UploadFolder
from everpost.files.kinds import HEAD_BYTES, kind_of
from everpost.files.names import stored_name
from everpost.files.partial import PartialFile
from everpost.files.probing import Prober
from everpost.store.files import UPLOADS, FileRecord, Files, QuotaExceededError, Upload, UploadGoneError

log = structlog.get_logger("everpost.files")


class Completion:
    """Completes uploads.

    Args:
        quota_bytes: The most bytes of all files together; 0 is no limit.
    """

    def __init__(
        self,
        files: Files,
        folder: UploadFolder,
        digests: Digests,
        disk: DiskThreads,
        clock: Clock,
        quota_bytes: int,
    ) -> None:
        self._files = files
        self._folder = folder
        self._digests = digests
        self._disk = disk
        self._clock = clock
        self._quota_bytes = quota_bytes
        self._prober = Prober()

    async def complete(self, upload: Upload, part: PartialFile) -> FileRecord:
        """Have the whole file on the disk under its name, then write its record.

        Raises:
            FileNotFound: The upload was removed meanwhile.
            QuotaExceeded: There is no room for it.
        """
        sha256 = self._digests.take(upload.file_id, part.size_bytes)
        changed_ns = await self._disk.run(part.flush)
        digest = await self._disk.run(part.digest) if sha256 is None else sha256.hexdigest()
        kind = kind_of(await self._disk.run(part.head, HEAD_BYTES), upload.filename)
        facts = await self._prober.facts_of(part.path.absolute(), kind.content_type)
        name = stored_name(upload.file_id, upload.filename, kind.extension)
        failpoint("upload.before_rename")
        try:
            await self._disk.run(self._folder.give_name, part.path, name)
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
            submitted_by=upload.submitted_by,
        )
        kept = await self._keep(record)
        log.info("file.stored", file_id=kept.file_id, size_bytes=kept.size_bytes, content_type=kept.content_type)
        return kept

    async def find_complete(self, upload: Upload, part: PartialFile) -> FileRecord | None:
        """The record of an upload whose file has its name already; None if nothing of it has arrived.

        If the process died before it wrote the record, the record is written now. No other request does so
        meanwhile, since `part` is locked.

        Raises:
            FileNotFound: The upload was removed, and is not complete.
        """
        if await self._files.find_upload(upload.file_id) is None:  # it was completed or removed since it was found
            await self._disk.run(part.remove)
            record = (await self._files.find([upload.file_id])).get(upload.file_id)
            if record is None:
                raise FileNotFound(upload.file_id)
            return record
        found = await self._disk.run(self._folder.find_named, upload.file_id)
        if found is None:
            return None
        await self._disk.run(found.rename, part.path)
        whole = await self._disk.run(self._folder.open_part, upload.file_id)
        try:
            return await self.complete(upload, whole)
        finally:
            whole.close()

    async def _keep(self, record: FileRecord) -> FileRecord:
        try:
            return await self._files.keep(record, self._quota_bytes)
        except (QuotaExceededError, UploadGoneError) as error:
            await self._disk.run(self._folder.remove, record.file_path)
            if isinstance(error, UploadGoneError):
                raise FileNotFound(record.file_id) from error
            raise QuotaExceeded(self._quota_bytes) from error
