"""The publisher `folder`: a post is a folder, `<root>/<platform>/<key>/`, that appears complete or not at all."""

import contextlib
import errno
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from everpost.clock import Clock, system_clock, to_text
from everpost.errors import SettingsError
from everpost.flushing import flush
from everpost.publishing import (
    InvalidError,
    Media,
    PermanentError,
    Publisher,
    PublisherClass,
    PublishError,
    PublishJob,
    PublishResult,
    TransientError,
    describe_media,
    read_options,
)
from everpost.settings import Settings, expand_user
from everpost_workers.publishers.copying import CHUNK_BYTES, Copier, Lane

METADATA = "metadata.json"
SMALL_BYTES = 16 << 20  # larger media are copied in their own threads
QUICK_THREADS, SLOW_THREADS = 8, 2
ABANDONED_AFTER = 3  # time-outs of an attempt: after that, no attempt writes to an unfinished folder any more

_HOPELESS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})
_TAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST})
_STAGING = re.compile(r"\.[0-9a-f]{32}\.")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")


class FolderOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `folder`.

    Attributes:
        root: The folder for all posts; None means `published` in `EVERPOST_DATA`.
    """

    root: str | None = None


class FolderPublisher(Publisher):
    """Writes metadata.json and the media file into one folder, named by the idempotency key.

    An automatic repetition finds the same folder. If its content is the same, it is kept; otherwise it is replaced. A
    retry by a client has another key and makes another folder. No value of the task becomes part of a path.

    Raises:
        SettingsError: An option is unknown or of the wrong type.
    """

    publisher_class = PublisherClass.LOCAL

    def __init__(self, options: Mapping[str, Any], settings: Settings, clock: Clock = system_clock) -> None:
        given = read_options(options, FolderOptions)
        self._is_given = given.root is not None
        try:
            self.root = (expand_user(given.root) if given.root else settings.published_root).absolute()
        except ValueError as error:
            raise SettingsError(f"options.root: {error}.") from error
        self._clock = clock
        self._most_bytes, self._least_free_bytes = settings.max_media, settings.min_free_disk
        self._abandoned_s = ABANDONED_AFTER * settings.job_timeout
        self._swept: set[Path] = set()
        self._quick, self._slow = Lane("folder", QUICK_THREADS), Lane("folder-large", SLOW_THREADS)

    async def close(self) -> None:
        """Let the threads end."""
        self._quick.close()
        self._slow.close()

    async def publish(self, job: PublishJob) -> PublishResult:
        """Write the post. Its id is the folder's name, its address a file:// URL.

        Large media have their own threads, so that other posts do not wait for a copy. If the attempt is cancelled, its
        copy stops at the next chunk, and nothing of it stays.
        """
        lane = self._slow if sum(media.size_bytes for media in job.files) > SMALL_BYTES else self._quick
        return await lane.run(lambda stop: self._publish(job, stop))

    def _publish(self, job: PublishJob, stop: threading.Event) -> PublishResult:
        final = self.root / job.platform.name / job.idempotency_key
        copier = Copier(stop, self._most_bytes, self._least_free_bytes)
        if final.parent not in self._swept:
            self._swept.add(final.parent)
            _sweep(final.parent, time.time() - self._abandoned_s)  # files are dated by the wall clock
        try:
            _write_post(final, job, to_text(self._clock()), copier)
            if self._is_given:
                _share(self.root, final)
        except OSError as error:
            raise _publish_error(error, self.root) from error
        return PublishResult(
            provider_post_id=final.name,
            publish_url=final.as_uri(),
            detail={"media": describe_media(job.data, job.media, len(job.files) - 1)},
        )


def _share(root: Path, final: Path) -> None:
    """Open a post to those who can read the operator's own folder; a post in the data folder is private."""
    mode = root.stat().st_mode & 0o777
    for path in (final, *final.iterdir()):
        path.chmod(mode if path.is_dir() else mode & 0o666)
    final.parent.chmod(mode)


def _write_post(final: Path, job: PublishJob, published_at: str, copier: Copier) -> None:
    document = _document(job)
    if not _is_published(final, document, job.files, copier):
        if job.attempt > 1:
            _remove_leftovers(final)
        _make_folder(final.parent)
        _replace_folder(final, {**document, "published_at": published_at}, job.files, copier)
    # Also if the folder existed: the attempt that renamed it may have died before this step.
    flush(final.parent)


def _replace_folder(final: Path, document: dict[str, Any], files: Sequence[Media], copier: Copier) -> None:
    copier.check()
    staging = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
    staging.mkdir()
    try:
        _write_file(staging / METADATA, _encode(document))
        for number, media in enumerate(files, 1):
            _copy_media(media, staging / _media_name(media.filename, number), copier)
        flush(staging)
        copier.check()
        _move_into_place(staging, final)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _document(job: PublishJob) -> dict[str, Any]:
    """The content of metadata.json without the time of writing, the only part that differs between two attempts."""
    files = [_described(media, number) for number, media in enumerate(job.files, 1)]
    several = {"files": files} if len(files) > 1 else {}
    media = files[0] if files else None
    return {"task_id": job.task_id, "platform": job.platform.name, "media": media, **several, "data": job.data}


def _described(media: Media, number: int) -> dict[str, Any]:
    described = {
        "file": _media_name(media.filename, number),
        "filename": media.filename,
        "content_type": media.content_type,
        "size_bytes": media.size_bytes,
    }
    return described if media.alt is None else {**described, "alt": media.alt}


def _media_name(filename: str, number: int) -> str:
    """A name with the file's suffix, if that is a plain one. It cannot collide with metadata.json."""
    suffix = _SUFFIX.search(filename)
    return f"media{f'-{number}' if number > 1 else ''}{suffix.group().lower() if suffix else ''}"


def _encode(document: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    except (UnicodeEncodeError, TypeError, RecursionError) as error:
        raise InvalidError(f"The task cannot be written as JSON: {type(error).__name__}.") from error


def _is_published(final: Path, document: dict[str, Any], files: Sequence[Media], copier: Copier) -> bool:
    """Whether the folder exists with exactly this content. It was renamed into place, so it is always complete."""
    try:
        found = msgspec.json.decode((final / METADATA).read_bytes(), type=dict[str, Any])
        found.pop("published_at", None)
        if found != msgspec.json.decode(_encode(document)):
            return False
        return all(
            _has_same_bytes(final / _media_name(media.filename, number), media, copier)
            for number, media in enumerate(files, 1)
        )
    except (FileNotFoundError, msgspec.DecodeError):
        return False


def _has_same_bytes(copy: Path, media: Media, copier: Copier) -> bool:
    if copy.stat().st_size != media.size_bytes:
        return False
    with copy.open("rb") as ours, media.open_file() as theirs:
        while True:
            copier.check()
            chunk = ours.read(CHUNK_BYTES)
            if chunk != theirs.read(CHUNK_BYTES):
                return False
            if not chunk:
                return True


def _sweep(folder: Path, before_s: float) -> None:
    """Remove unfinished folders of crashed attempts that are older than that time; their tasks may never run again."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _STAGING.match(entry.name) and entry.stat(follow_symlinks=False).st_mtime < before_s:
                shutil.rmtree(entry.path, ignore_errors=True)


def _remove_leftovers(final: Path) -> None:
    """Remove an earlier attempt's unfinished folder. If that attempt is still alive, it fails without it."""
    for leftover in final.parent.glob(f".{final.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _move_into_place(staging: Path, final: Path) -> None:
    """Rename the unfinished folder to its final name. If a folder with other content is there, it is moved away first.

    A crash between the two renames leaves neither; the next attempt writes the post again.
    """
    try:
        staging.rename(final)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        replaced = staging.with_name(f"{staging.name}.replaced")
        final.rename(replaced)
        staging.rename(final)
        shutil.rmtree(replaced, ignore_errors=True)


def _copy_media(media: Media, target: Path, copier: Copier) -> None:
    with media.open_file() as source, target.open("xb") as file:
        copier.copy(source, file)
        _sync_file(file)


def _write_file(target: Path, content: bytes) -> None:
    with target.open("xb") as file:
        file.write(content)
        _sync_file(file)


def _make_folder(folder: Path) -> None:
    """Make the folder and its parents, and flush each into its parent. Otherwise a power cut could lose the posts."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    flush(folder.parent)


def _sync_file(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _publish_error(error: OSError, root: Path) -> PublishError:
    message = f"cannot write below {root}: {error.strerror or type(error).__name__}"
    return PermanentError(message) if error.errno in _HOPELESS else TransientError(message)
