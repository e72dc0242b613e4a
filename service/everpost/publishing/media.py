"""Media files: finds the file a task's `file_path` names, below one root, at the moment of use."""

import asyncio
import errno
import mimetypes
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import msgspec

from everpost.publishing.errors import InvalidError, PermanentError, PublishError, TransientError

SHOWN_CHARACTERS = 200  # of a path, in errors

_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


class MediaFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a library found out about a file; None is not known, or does not apply.

    Attributes:
        width: In pixels, as the file is stored.
        duration_s: Length in seconds.
    """

    width: int | None = None
    height: int | None = None
    duration_s: float | None = None


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """A regular file below a media root. `open_file` checks the path again when it opens the file.

    Attributes:
        path: Where it was found, as `root / file_path`.
        size_bytes: Its size when it was found.
        filename: The last part of the path; for an uploaded file, the name that the client gave it. Do not use it in a
            path: build a name of your own.
        content_type: Of an uploaded file, as found in its content. Otherwise guessed from the name;
            `application/octet-stream` if neither tells.
        root: The media root; no file outside it is ever opened.
        file_id: Its id, if the task names it by one.
        sha256: The digest of its content in hexadecimal digits, if it has a record.
        alt: The description that the task gives it.
        facts: Its dimensions and length, if it has a record.
    """

    path: Path
    size_bytes: int
    filename: str
    content_type: str
    root: Path
    file_id: str | None = None
    sha256: str | None = None
    alt: str | None = None
    facts: MediaFacts = MediaFacts()

    def open_file(self) -> BinaryIO:
        """Open it for reading, walking down from the root again. This blocks: call it in a thread.

        Raises:
            PublishError: It no longer exists, is not a regular file, or is behind a symbolic link.
        """
        return open_under(
            self.root, str(self.path.relative_to(self.root)), "EVERPOST_MEDIA" if self.file_id is None else "its folder"
        )


class MediaTooLargeError(InvalidError):
    """The media file has more bytes than `EVERPOST_MAX_MEDIA`."""


async def resolve_media(data: Mapping[str, Any], root: Path, most_bytes: int | None = None) -> Media | None:
    """The file a task's `file_path` names, relative to `root`; None if the task names none.

    No part of the path may be a symbolic link, `..` or absolute, and it must be a regular file.

    Raises:
        InvalidError: There is no such file (the message shows only the path the task gave), or it has more than
            `most_bytes`.
        PublishError: It cannot be read.
    """
    file_path = data.get("file_path")
    if file_path is None or file_path == "":
        return None
    if not isinstance(file_path, str):
        raise InvalidError("file_path must be text.")
    return await find_media(file_path, root, most_bytes)


async def find_media(file_path: str, root: Path, most_bytes: int | None = None) -> Media:
    """The file at a path below `root`. Raises the errors of `resolve_media`."""
    media = await asyncio.to_thread(_find, root, file_path)
    if most_bytes is not None and media.size_bytes > most_bytes:
        raise MediaTooLargeError(too_large(media.size_bytes, most_bytes))
    return media


def too_large(size_bytes: int, most_bytes: int) -> str:
    """The message for a file above the limit."""
    return f"The media file has {size_bytes:,} bytes; EVERPOST_MAX_MEDIA allows {most_bytes:,}."


def describe_media(data: Mapping[str, Any], media: Media | None, more: int = 0) -> str:
    """The media's part of a result's detail; `more` is the number of further files."""
    if media is not None:
        return f"{media.filename} and {more} more" if more else media.filename
    file_id = data.get("file_id")
    if file_id is None:
        return "none"
    return f"none: file_id {str(file_id)[:SHOWN_CHARACTERS]} is unknown, published as metadata only"


def _find(root: Path, file_path: str) -> Media:
    with open_under(root, file_path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
    path = root.joinpath(*_parts(file_path))
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Media(path=path, size_bytes=size_bytes, filename=path.name, content_type=content_type, root=root)


def open_under(root: Path, file_path: str, where: str = "EVERPOST_MEDIA") -> BinaryIO:
    """Open a file below `root`, walking down one folder at a time without following links. This blocks.

    So no part of the path can be replaced on the way.

    Args:
        where: How messages name the root.

    Raises:
        PublishError: As `resolve_media`.
    """
    *folders, filename = _parts(file_path, where)
    folder = -1
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        for name in folders:
            parent = folder
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            os.close(parent)
        # Without O_NONBLOCK, opening a named pipe waits for a writer.
        file = os.open(filename, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except (OSError, ValueError) as error:
        raise _refusal(error, file_path, where) from error
    finally:
        if folder >= 0:
            os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise InvalidError(f"{_shown(file_path)} under {where} is no regular file.")
    return os.fdopen(file, "rb")


def _parts(file_path: str, where: str = "EVERPOST_MEDIA") -> tuple[str, ...]:
    path = PurePosixPath(file_path)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in file_path:
        raise InvalidError(f"{_shown(file_path)} is no path below {where}.")
    return path.parts


def _refusal(error: OSError | ValueError, file_path: str, where: str) -> PublishError:
    if isinstance(error, ValueError) or error.errno in _MISSING:  # ValueError: it cannot be encoded as a file name
        return InvalidError(f"{_shown(file_path)} not found under {where} (symbolic links are not followed).")
    if error.errno == errno.ENXIO:  # a socket, or a device without a driver
        return InvalidError(f"{_shown(file_path)} under {where} is no regular file.")
    message = f"{_shown(file_path)} under {where} cannot be read: {error.strerror}."
    return PermanentError(message) if error.errno in _FORBIDDEN else TransientError(message)


def _shown(file_path: str) -> str:
    return ascii(file_path[:SHOWN_CHARACTERS]) if not file_path.isprintable() else repr(file_path[:SHOWN_CHARACTERS])
