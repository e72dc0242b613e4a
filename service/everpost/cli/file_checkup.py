"""The doctor's look at media: whether each record has its file, and each file its record."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from everpost.cli.looked_at import opened_to_look
from everpost.errors import ServiceError
from everpost.files.names import OWN_NAME
from everpost.findings import Finding, size_text
from everpost.settings import Settings
from everpost.store import Store
from everpost.store.files import UPLOADS, FileRecord, Usage

ABOUT = "media"
PAGE = 1_000
SAMPLE = 5


async def check_files(settings: Settings) -> list[Finding]:
    """The findings about media; none if there are neither files nor uploads, or no database that can be read."""
    async with opened_to_look(settings.database_address) as store:
        if store is None:
            return []
        try:
            usage, roots = await store.files.usage(), await store.files.roots()
            records = [record async for record in _all(store)]
        except ServiceError as error:
            return [Finding(ABOUT, "files", "cannot be read", ok=False, advice=error.message)]
    if not records and not usage.uploads:
        return []
    folders: dict[str | None, Path] = {None: settings.media_root, UPLOADS: settings.files_root}
    folders |= {name: Path(folder) for name, folder in roots.items()}
    uploaded = {record.file_path for record in records if record.root == UPLOADS}
    return [
        _room(usage, settings),
        _folder(settings.files_root),
        _missing(records, folders),
        *_without_record(settings.files_root, uploaded),
    ]


async def _all(store: Store) -> AsyncIterator[FileRecord]:
    before: int | None = None
    while page := await store.files.page(before, PAGE):
        for record in page:
            yield record
        before = page[-1].number


def _room(usage: Usage, settings: Settings) -> Finding:
    taken = usage.size_bytes + usage.upload_bytes
    quota = settings.files_quota
    is_near = bool(quota) and taken > 0.9 * quota
    most = f" of {size_text(quota)}" if quota else ""
    told = f"{usage.files} uploaded, {usage.uploads} uploads, {size_text(taken)}{most}"
    advice = (
        "Above EVERPOST_FILES_QUOTA, uploads are refused: delete some, or set EVERPOST_FILES_DAYS." if is_near else ""
    )
    return Finding(ABOUT, "files", told, False if is_near else None, advice if is_near else "")


def _folder(root: Path) -> Finding:
    is_usable = not root.exists() or (root.is_dir() and os.access(root, os.W_OK | os.X_OK))
    advice = "" if is_usable else "The user that runs Everpost must be able to write this folder."
    return Finding(ABOUT, "folder", str(root), is_usable, advice)


def _missing(records: list[FileRecord], folders: Mapping[str | None, Path]) -> Finding:
    """Records without a file on this host; workers of other hosts may have other folders."""
    lacking = [record for record in records if not _is_there(record, folders)]
    sample = ", ".join(f"{record.file_id} ({record.filename})" for record in lacking[:SAMPLE])
    advice = f"Tasks that name them fail as invalid, if no worker's host has them: {sample}." if lacking else ""
    return Finding(ABOUT, "missing on this host", str(len(lacking) or "none"), None if lacking else True, advice)


def _is_there(record: FileRecord, folders: Mapping[str | None, Path]) -> bool:
    folder = folders.get(record.root)
    if folder is None:
        return False
    try:
        size_bytes = (folder / record.file_path).lstat().st_size
    except (OSError, ValueError):
        return False
    return record.size_bytes in {None, size_bytes}


def _without_record(root: Path, known: set[str]) -> Iterator[Finding]:
    if not root.is_dir():
        return
    with os.scandir(root) as entries:
        strays = [
            entry.name
            for entry in entries
            if OWN_NAME.fullmatch(entry.name) and not entry.name.endswith(".part") and entry.name not in known
        ]
    advice = f"Left by a crash, or by an older database: {', '.join(sorted(strays)[:SAMPLE])}." if strays else ""
    yield Finding(ABOUT, "without a record", str(len(strays) or "none"), None if strays else True, advice)
