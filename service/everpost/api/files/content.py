"""Answers with the content of a file, whole or in part (RFC 9110, 14)."""

import asyncio
import re
from collections.abc import Mapping
from typing import BinaryIO
from urllib.parse import quote

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from everpost.api.http.bodies import Headers
from everpost.api.http.head_requests import IS_HEAD
from everpost.api.http.json_answer import count_answer
from everpost.errors import RangeNotSatisfiable
from everpost.publishing.media import Media

READ_BYTES = 1 << 18
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class FileContent(ASGIResponse):
    """The bytes of a file, read in a thread while they are sent."""

    __slots__ = ("_file", "_first", "_raw_headers", "_size")

    def __init__(self, file: BinaryIO, status: int, headers: Mapping[str, str], first: int, size_bytes: int) -> None:
        self._file = file
        self._first, self._size = first, size_bytes
        self.status_code = status
        self._raw_headers = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer and count it."""
        del receive
        try:
            count_answer(scope, self.status_code)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self._raw_headers})
            left = 0 if scope["state"].get(IS_HEAD) else self._size
            await asyncio.to_thread(self._file.seek, self._first)
            while left:
                chunk = await asyncio.to_thread(self._file.read, min(READ_BYTES, left))
                if not chunk:
                    raise OSError("the file was truncated while it was sent")
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._file.close()


def content_headers(media: Media) -> dict[str, str]:
    """The headers of all answers with this file. A browser must neither run it nor guess its type."""
    return {
        "content-type": media.content_type,
        "content-disposition": f"attachment; filename*=UTF-8''{quote(media.filename, safe='')}",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cache-control": "private, no-cache",
        "accept-ranges": "bytes",
        **({"etag": etag_of(media)} if media.sha256 is not None else {}),
    }


def etag_of(media: Media) -> str:
    """The entity tag: the digest of the content."""
    return f'"{media.sha256}"'


def is_known(media: Media, headers: Headers) -> bool:
    """Whether the client has this content already: `If-None-Match`."""
    tags = headers.get(b"if-none-match", b"").decode("latin-1").split(",")
    return media.sha256 is not None and bool(
        {"*", etag_of(media), f"W/{etag_of(media)}"} & {tag.strip() for tag in tags}
    )


def range_of(media: Media, headers: Headers) -> tuple[int, int] | None:
    """The first byte and the number of bytes that are asked for; None for the whole file.

    Several ranges, and a range in another unit, are answered with the whole file.

    Raises:
        RangeNotSatisfiable: The file ends before it.
    """
    condition = headers.get(b"if-range")
    asked = RANGE.fullmatch(headers.get(b"range", b"").decode("latin-1").strip())
    if asked is None or asked.group(1, 2) == ("", ""):
        return None
    if condition is not None and (media.sha256 is None or condition.decode("latin-1") != etag_of(media)):
        return None
    start, end = asked.groups()
    if not start:
        size_bytes = min(int(end), media.size_bytes)
        first = media.size_bytes - size_bytes
    else:
        first = int(start)
        last = min(int(end), media.size_bytes - 1) if end else media.size_bytes - 1
        if end and int(end) < first:
            return None
        size_bytes = last - first + 1
    if size_bytes <= 0 or first >= media.size_bytes:
        error = RangeNotSatisfiable(media.size_bytes)
        raise error
    return first, size_bytes
