"""Bodies of uploads: a media file read in pieces, in threads, with its progress reported."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import BinaryIO

import msgspec

from everpost.publishing import Media, TransientError

PIECE_BYTES = 262_144
LONGEST_SUFFIX = 8

Report = Callable[[int], None]
"""Takes the number of bytes read so far."""


class Upload(msgspec.Struct, frozen=True):
    """A body and its headers; `make` makes the body anew for every request."""

    headers: Mapping[str, str]
    make: Callable[[], AsyncIterator[bytes]]


def whole_file(media: Media, report: Report) -> Upload:
    """The file itself as the body."""
    headers = {"Content-Type": media.content_type, "Content-Length": str(media.size_bytes)}
    return Upload(headers, lambda: pieces_of(media, report))


def multipart(media: Media, fields: Mapping[str, str], report: Report) -> Upload:
    """A form with text fields and the file as `file` (RFC 7578)."""
    boundary = secrets.token_hex(16)
    head = b"".join(_field(boundary, name, value) for name, value in fields.items()) + _file_head(boundary, media)
    tail = f"\r\n--{boundary}--\r\n".encode()

    async def make() -> AsyncIterator[bytes]:
        yield head
        async for piece in pieces_of(media, report):
            yield piece
        yield tail

    length = len(head) + media.size_bytes + len(tail)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}
    return Upload(headers, make)


async def pieces_of(media: Media, report: Report) -> AsyncIterator[bytes]:
    """The file's bytes.

    Raises:
        TransientError: The file became longer or shorter meanwhile.
        PublishError: It cannot be opened.
    """
    file = await asyncio.to_thread(media.open_file)
    done = 0
    try:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            done += len(piece)
            if done > media.size_bytes:
                raise _changed(media)
            yield piece
            report(done)
    finally:
        file.close()
    if done != media.size_bytes:
        raise _changed(media)


async def read_whole(media: Media) -> bytes:
    """All bytes of a small file."""

    def read(file: BinaryIO) -> bytes:
        with file:
            return file.read(media.size_bytes + 1)

    content = await asyncio.to_thread(lambda: read(media.open_file()))
    if len(content) != media.size_bytes:
        raise _changed(media)
    return content


def _changed(media: Media) -> TransientError:
    return TransientError(f"{media.filename!a} changed while it was read.")


def _field(boundary: str, name: str, value: str) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return head.encode() + value.encode("utf-8", "replace") + b"\r\n"


def _file_head(boundary: str, media: Media) -> bytes:
    """The name is reduced to ASCII, because a quote or a line break in it would end the header."""
    stem, dot, ending = media.filename.rpartition(".")
    is_suffix = dot and ending.isalnum() and ending.isascii() and len(ending) <= LONGEST_SUFFIX
    name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in (stem or ending)[:80])
    disposition = f'form-data; name="file"; filename="{name}{f".{ending}" if is_suffix else ""}"'
    content_type = media.content_type if is_header_value(media.content_type) else "application/octet-stream"
    return f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {content_type}\r\n\r\n".encode()


def is_header_value(text: str) -> bool:
    """Whether a header may have this value."""
    return text.isascii() and text.isprintable()
