"""Files as answers show them."""

from collections.abc import Sequence

import msgspec

from everpost.store.files import FileRecord, Upload

UPLOADING = "uploading"


class FileView(msgspec.Struct, frozen=True, kw_only=True):
    """A file, or an upload that is not complete.

    Attributes:
        status: `uploading`, `pending` (no task with it has succeeded) or `published`; another text of an inherited
            record.
        submitted_by: The name of the caller that uploaded it; null if no keys were used.
        folder: The registered folder it is in; null for an uploaded file.
        offset: How many bytes of an upload have arrived.
        last_accounts: The accounts it was published with, the latest one last.
        used_by: Unfinished tasks that name it, up to 20; only in the answer about one file.
        expires_at: When an unfinished upload is removed, unless it is continued.
    """

    file_id: str
    filename: str
    status: str
    size_bytes: int | None
    content_type: str | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    folder: str | None = None
    file_path: str | None = None
    created_at: str | None = None
    submitted_by: str | None = None
    published_at: str | None = None
    last_platform: str | None = None
    last_accounts: list[str] = []
    used_by: list[str] | None = None
    offset: int | None = None
    expires_at: str | None = None


def view_of(record: FileRecord, used_by: Sequence[str] | None = None) -> FileView:
    """A file as it is shown."""
    is_uploaded = record.root == "uploads"
    return FileView(
        file_id=record.file_id,
        filename=record.filename,
        status=record.status or "",
        size_bytes=record.size_bytes,
        content_type=record.content_type,
        sha256=record.sha256,
        width=record.width,
        height=record.height,
        duration_s=record.duration,
        folder=None if is_uploaded else record.root,
        file_path=None if is_uploaded else record.file_path,
        created_at=record.created_at,
        submitted_by=record.submitted_by,
        published_at=record.published_at,
        last_platform=record.last_platform,
        last_accounts=_accounts(record.last_accounts),
        used_by=None if used_by is None else list(used_by),
    )


def view_of_upload(upload: Upload, offset: int) -> FileView:
    """An upload as it is shown."""
    return FileView(
        file_id=upload.file_id,
        filename=upload.filename,
        status=UPLOADING,
        size_bytes=upload.size_bytes,
        offset=offset,
        created_at=upload.created_at,
        submitted_by=upload.submitted_by,
        expires_at=upload.expires_at,
    )


def _accounts(text: str | None) -> list[str]:
    try:
        return msgspec.json.decode(text or "[]", type=list[str])
    except msgspec.DecodeError:  # an inherited record has any text
        return [text] if text else []
