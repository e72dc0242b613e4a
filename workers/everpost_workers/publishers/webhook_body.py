"""The body of a webhook: the task as JSON, alone or followed by its files as a multipart form.

A repetition has the same body byte for byte, so nothing in it depends on the time or the attempt.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec

from everpost.publishing import InvalidError, Media, PublishJob, TransientError

PIECE_BYTES = 262_144
JSON = "application/json"
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+\Z")  # RFC 6838 §4.2


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body.

    Attributes:
        document: The task as JSON. This is what the signature signs; it has the digest of each file that follows.
        make: Makes the whole body, anew for every request.
    """

    document: bytes
    content_type: str
    size_bytes: int
    make: Callable[[], bytes | AsyncIterator[bytes]]


def plain_body(job: PublishJob, links: Mapping[str, str] | None = None) -> Body:
    """The task, its files described. `links` are addresses by `file_id`.

    Raises:
        InvalidError: The task cannot be written as JSON.
    """
    document = _encode(job, [_described(media, links or {}) for media in job.files])
    return Body(document=document, content_type=JSON, size_bytes=len(document), make=lambda: document)


async def multipart_body(job: PublishJob) -> Body:
    """The task as the part `task`, and each file as a part of its own (RFC 7578).

    Raises:
        PublishError: A file cannot be read, or the task cannot be written as JSON.
    """
    if not job.files:
        return plain_body(job)
    digests = [await _digest_of(media) for media in job.files]
    files = [
        {**_described(media, {}), "sha256": digest, "part": f"file-{number}"}
        for number, (media, digest) in enumerate(zip(job.files, digests, strict=True), 1)
    ]
    document = _encode(job, files)
    # No file can contain it: it depends on the digest of the file.
    boundary = f"everpost-{hashlib.sha256(document).hexdigest()}"
    heads = [_head(boundary, "task", None, JSON) + document]
    heads += [_file_head(boundary, f"file-{number}", media) for number, media in enumerate(job.files, 1)]
    end = f"\r\n--{boundary}--\r\n".encode()
    size_bytes = sum(map(len, heads)) + sum(media.size_bytes for media in job.files) + len(end)
    return Body(
        document=document,
        content_type=f"multipart/form-data; boundary={boundary}",
        size_bytes=size_bytes,
        make=lambda: _pieces(heads, job.files, end),
    )


async def _pieces(heads: list[bytes], files: tuple[Media, ...], end: bytes) -> AsyncIterator[bytes]:
    yield heads[0]
    for head, media in zip(heads[1:], files, strict=True):
        yield head
        async for piece in _pieces_of(media):
            yield piece
    yield end


async def _pieces_of(media: Media) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(media.open_file)
    left = media.size_bytes
    try:
        while left and (piece := await asyncio.to_thread(file.read, min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece
    finally:
        file.close()
    if left:
        raise TransientError("A media file was truncated while it was sent.")


async def _digest_of(media: Media) -> str:
    if media.sha256 is not None:
        return media.sha256
    return await asyncio.to_thread(_compute_digest, media)


def _compute_digest(media: Media) -> str:
    digest = hashlib.sha256()
    with media.open_file() as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _described(media: Media, links: Mapping[str, str]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "filename": media.filename,
        "content_type": media.content_type,
        "size_bytes": media.size_bytes,
    }
    more = {"sha256": media.sha256, "alt": media.alt, "url": links.get(media.file_id or "")}
    return described | {name: value for name, value in more.items() if value is not None}


def _encode(job: PublishJob, files: list[dict[str, Any]]) -> bytes:
    """The task as JSON. `media` is the first file, which was the only one in earlier releases."""
    body: dict[str, Any] = {"task_id": job.task_id, "platform": job.platform.name, "data": job.data}
    if files:
        body["media"] = files[0]
    if len(files) > 1:
        body["files"] = files
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, TypeError, RecursionError) as error:
        raise InvalidError(f"The task cannot be written as JSON: {type(error).__name__}.") from error


def _file_head(boundary: str, name: str, media: Media) -> bytes:
    """The head of a file's part. Its name is a plain one, because the client's could end the header."""
    suffix = _SUFFIX.search(media.filename)
    filename = f"{name}{suffix.group().lower() if suffix else ''}"
    content_type = media.content_type if _CONTENT_TYPE.match(media.content_type) else "application/octet-stream"
    return b"\r\n" + _head(boundary, name, filename, content_type)


def _head(boundary: str, name: str, filename: str | None, content_type: str) -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {content_type}\r\n\r\n".encode()
