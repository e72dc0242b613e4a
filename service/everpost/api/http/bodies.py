"""Reads request bodies: limited in size, and JSON only.

Litestar's `JSONBody` is not used. It takes `"true"` for a boolean and any Content-Type for JSON, ignores a
Content-Encoding, and answers 500 to bad UTF-8 and to deep nesting.
"""

from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

import msgspec

from everpost.api.http.json_answer import JSON
from everpost.api.services import ApiRequest
from everpost.errors import BodyTooLarge, MalformedJson, UnsupportedMedia
from everpost.task.submission import decode_json, invalid_value

Wanted = TypeVar("Wanted")

NDJSON = "application/x-ndjson"
MERGE_PATCH = "application/merge-patch+json"  # RFC 7396
UTF_8 = frozenset({"utf-8", "utf8"})

Headers = Mapping[bytes, bytes]


class ClientGone(MalformedJson):
    """The client hung up before its body was complete, so it will not see an answer."""

    def __init__(self) -> None:
        super().__init__("The body ended too soon.")


def headers_of(request: ApiRequest) -> Headers:
    """The raw headers by lower-case name; of repeated headers, the last."""
    return dict(request.scope["headers"])


def media_type_of(headers: Headers) -> str:
    """The Content-Type without its parameters; empty if the header is missing, or if its charset is not UTF-8."""
    media_type, _, parameters = headers.get(b"content-type", b"").decode("latin-1").lower().partition(";")
    name, _, charset = parameters.strip().partition("=")
    if name == "charset" and charset.strip('" ') not in UTF_8:
        return ""
    return media_type.strip()


def has_body(headers: Headers) -> bool:
    """Whether the request has a body that may not be empty."""
    return b"transfer-encoding" in headers or int(headers.get(b"content-length", 0)) > 0


def is_json(media_type: str) -> bool:
    """Whether it is application/json or application/*+json."""
    return media_type == JSON or (media_type.startswith("application/") and media_type.endswith("+json"))


async def read_json_body(request: ApiRequest, headers: Headers, limit_bytes: int) -> bytes:
    """The whole body, not decoded.

    Raises:
        UnsupportedMedia: The Content-Type is missing or not JSON.
        BodyTooLarge: It has more than `limit_bytes`; no more than that is kept in memory.
        ClientGone: The body ended too soon.
    """
    if headers.get(b"content-type") != b"application/json" and not is_json(media_type_of(headers)):
        raise UnsupportedMedia(JSON)
    return await read_body(request, headers, limit_bytes)


async def read_object(request: ApiRequest, wanted: type[Wanted], limit_bytes: int) -> Wanted:
    """The whole body as a `wanted`. Raises the errors of `read_json_body`, and those below.

    Raises:
        MalformedJson: It is not JSON.
        InvalidValue: A value does not fit; its JSON path is in the error.
    """
    data = decode_json(await read_json_body(request, headers_of(request), limit_bytes))
    try:
        return msgspec.convert(data, wanted)
    except msgspec.ValidationError as error:
        raise invalid_value(error) from error


async def read_optional_object(request: ApiRequest, wanted: type[Wanted], limit_bytes: int) -> Wanted | None:
    """As `read_object`; None if the request has no body."""
    return await read_object(request, wanted, limit_bytes) if has_body(headers_of(request)) else None


async def read_body(request: ApiRequest, headers: Headers, limit_bytes: int) -> bytes:
    """The whole body of any type. Raises the errors of `read_json_body`."""
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMedia("it is, without a Content-Encoding")
    if int(headers.get(b"content-length", 0)) > limit_bytes:  # the server has refused values that are not numbers
        raise BodyTooLarge(limit_bytes)
    parts: list[bytes] = []
    size = 0
    async for chunk in read_chunks(request):
        size += len(chunk)
        if size > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def read_chunks(request: ApiRequest) -> AsyncIterator[bytes]:
    """The body in the pieces in which it arrives.

    Raises:
        ClientGone: The body ended too soon.
    """
    more = True
    while more:
        event = await request.receive()
        if event["type"] != "http.request":
            raise ClientGone
        more = event.get("more_body", False)
        yield event.get("body", b"")
