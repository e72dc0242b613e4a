"""The port's noun `files`: the records of media files, the uploads that are not complete, and who uses a file.

The files themselves are on a disk, see `everpost.files`. A record is written after its file is on the disk, and removed
before it: so there may be a file without a record for a moment, but no record without a file.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

UPLOADS = "uploads"  # the root of uploaded files: EVERPOST_FILES
MOST_USERS = 20  # unfinished tasks that are named with a file

PENDING, PUBLISHED = "pending", "published"
"""The values of `status` that Everpost writes; an inherited record may have any other text."""


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A file that tasks can name. A value is None if it is not known, as most of an inherited record are.

    Attributes:
        file_id: 32 hexadecimal digits; for an inherited record, its number.
        root: `UPLOADS`, the name of a registered folder, or None for EVERPOST_MEDIA.
        file_path: Where it is, relative to its root.
        filename: The name its client gave it, without folders and control characters.
        changed_ns: When its content was changed last, as the file system says.
        status: `PENDING` until a task with it has succeeded, then `PUBLISHED`.
        published_at: When a task with it succeeded last.
        last_platform: The platform of that task.
        last_accounts: The accounts it was published with, as a JSON list, the latest one last.
        used_at: When a task that names it ended last.
        submitted_by: The name of the caller that uploaded it; None of a file that was not uploaded, or without keys.
        number: Its place in lists.
    """

    file_id: str
    root: str | None = None
    file_path: str
    filename: str
    size_bytes: int | None = None
    sha256: str | None = None
    content_type: str | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    changed_ns: int | None = None
    created_at: str | None = None
    used_at: str | None = None
    status: str | None = PENDING
    published_at: str | None = None
    last_platform: str | None = None
    last_accounts: str | None = None
    submitted_by: str | None = None
    number: int = 0


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload that is not complete.

    Attributes:
        file_id: The id that the file will have.
        size_bytes: How long the file will be; None if the client has not said it yet.
        metadata: The client's `Upload-Metadata`, unchanged.
        expires_at: It is removed after this time.
        submitted_by: The name of the caller that began it; None without keys.
    """

    file_id: str
    filename: str
    size_bytes: int | None
    metadata: str = ""
    created_at: str
    expires_at: str
    submitted_by: str | None = None


class Usage(msgspec.Struct, frozen=True):
    """How many uploaded files there are, their bytes, and the uploads with the bytes that they will need."""

    files: int
    size_bytes: int
    uploads: int
    upload_bytes: int


class Removed(msgspec.Struct, frozen=True):
    """The record that was removed, or the unfinished tasks that name it; neither if there is no such record."""

    record: FileRecord | None
    users: Sequence[str] = ()


class UnknownFileError(Exception):
    """A task names a file that has no record."""

    def __init__(self, file_id: str) -> None:
        super().__init__(file_id)
        self.file_id = file_id


class QuotaExceededError(Exception):
    """The uploaded files would have more bytes than allowed; nothing was written."""


class UploadGoneError(Exception):
    """The upload of a complete file was removed meanwhile; nothing was written."""


class Files(Protocol):
    """Records of files. Writes are durable when they return; they raise the errors of `everpost.store.ledger.Ledger`.

    A file is in use while an unfinished task names it: `Ledger.accept` and retries note that together with the task.
    """

    async def begin_upload(self, upload: Upload, quota_bytes: int) -> None:
        """Keep an upload.

        Args:
            quota_bytes: The most bytes that all uploaded files and uploads may have together; 0 is no limit.

        Raises:
            QuotaExceededError: They would have more.
        """

    async def find_upload(self, file_id: str) -> Upload | None:
        """The upload with this id; None if it is complete, was removed, or never began."""

    async def extend_upload(self, upload: Upload, quota_bytes: int) -> bool:
        """Replace the size and the time of expiry of an upload; False if there is no such upload.

        Raises:
            QuotaExceededError: As in `begin_upload`.
        """

    async def abandon_upload(self, file_id: str) -> bool:
        """Forget an upload; False if there is no such upload."""

    async def take_expired_uploads(self, now: str, limit: int) -> list[Upload]:
        """Forget uploads that have expired, at most `limit`, and return them."""

    async def keep(self, record: FileRecord, quota_bytes: int = 0) -> FileRecord:
        """Keep the record of a complete file, and forget its upload.

        If there is a record with its id already, this one is returned and nothing is written. If there is one with its
        place in a registered folder, this one gets the new size, digest and facts, and keeps its id.

        Raises:
            QuotaExceededError: The uploaded files would have more bytes than `quota_bytes`.
            UploadGoneError: The root is `UPLOADS`, and there is no upload with the id.
        """

    async def find(self, file_ids: Collection[str]) -> dict[str, FileRecord]:
        """The records with these ids, by id."""

    async def find_placed(self, root: str, file_paths: Sequence[str]) -> dict[str, FileRecord]:
        """The records of files in a registered folder, by path."""

    async def page(self, before: int | None, limit: int, submitted_by: str | None = None) -> list[FileRecord]:
        """Records, the newest first: those with a `number` below `before`.

        Args:
            submitted_by: Leave out what other callers uploaded. Files of other folders are not left out.
        """

    async def users(self, file_id: str, reach: Sequence[str] | None = None) -> list[str]:
        """Unfinished tasks that name a file, at most `MOST_USERS`.

        Args:
            reach: Only those that a caller with this scope reaches; see `everpost.store.history.TaskFilter`.
        """

    async def remove(self, file_id: str) -> Removed:
        """Remove a record, unless an unfinished task names it."""

    async def take_unused(self, before: str, limit: int) -> list[FileRecord]:
        """Remove records of uploaded files that no unfinished task names, at most `limit`, and return them.

        They were last used before a time; if no task has used them, made before it.
        """

    async def forget_uses(self, now: str, limit: int) -> int:
        """Note the uses that have ended in `used_at`, and forget them, at most `limit`; how many there were."""

    async def has_inherited(self) -> bool:
        """Whether there are records of the original system. There will never be more of them than there are now."""

    async def usage(self) -> Usage:
        """The room that uploaded files and uploads take."""

    async def roots(self) -> Mapping[str, str]:
        """The registered folders, by name."""

    async def set_root(self, name: str, folder: str | None) -> None:
        """Register a folder, or forget it with all records of its files that no unfinished task names."""
