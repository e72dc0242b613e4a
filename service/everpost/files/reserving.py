"""The room of uploads among all files: a store's row reserves it until the upload is complete or has expired."""

import msgspec

from everpost.clock import Clock, to_text
from everpost.errors import BodyTooLarge, FileNotFound, InvalidValue, QuotaExceeded
from everpost.settings import Settings
from everpost.store.files import Files, QuotaExceededError, Upload

HOUR_MS = 3_600_000


class Reservations:
    """Reserves room for uploads.

    Attributes:
        most_bytes: The largest file.
        quota_bytes: The most bytes of all files together; 0 is no limit.
        kept_ms: How long an upload is kept that is not continued.
    """

    def __init__(self, files: Files, settings: Settings, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self.most_bytes = settings.max_media
        self.quota_bytes = settings.files_quota
        self.kept_ms = settings.upload_hours * HOUR_MS

    def check_size(self, size_bytes: int | None) -> None:
        """Check a file's size; None is not known yet.

        Raises:
            InvalidValue: It is empty.
            BodyTooLarge: It is larger than a file may be.
        """
        if size_bytes == 0:
            raise InvalidValue("The file is empty.")
        if size_bytes is not None and size_bytes > self.most_bytes:
            raise BodyTooLarge(self.most_bytes)

    async def begin(self, upload: Upload) -> None:
        """Write a new upload into the store.

        Raises:
            QuotaExceeded: There is no room for it.
        """
        try:
            await self._files.begin_upload(upload, self.quota_bytes)
        except QuotaExceededError as error:
            raise QuotaExceeded(self.quota_bytes) from error

    async def with_size(self, upload: Upload, size_bytes: int) -> Upload:
        """The upload with a size that the client says only now.

        Raises:
            InvalidValue: It has another size already.
            QuotaExceeded: There is no room for it.
            FileNotFound: The upload was removed.
        """
        self.check_size(size_bytes)
        sized = msgspec.structs.replace(upload, size_bytes=size_bytes)
        if upload.size_bytes == size_bytes:
            return upload
        if upload.size_bytes is not None:
            raise InvalidValue("The length of an upload cannot be changed.", "Upload-Length")
        await self.extend(sized)
        return sized

    async def extend(self, upload: Upload) -> None:
        """Keep an upload for longer, and reserve its size.

        Raises:
            QuotaExceeded: There is no room for it.
            FileNotFound: It was removed.
        """
        later = msgspec.structs.replace(upload, expires_at=to_text(self._clock() + self.kept_ms))
        try:
            is_there = await self._files.extend_upload(later, self.quota_bytes)
        except QuotaExceededError as error:
            raise QuotaExceeded(self.quota_bytes) from error
        if not is_there:
            raise FileNotFound(upload.file_id)
