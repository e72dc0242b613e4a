"""Checks every request's head, as HTTP/1.1 demands, before its body is read (RFC 9112)."""

import re
from collections.abc import Sequence
from functools import lru_cache

from everpost.api.http.bodies import Headers
from everpost.errors import BadInput, UnsupportedTransferCoding

HeaderLines = Sequence[tuple[bytes, bytes]]

HOST = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z._~%!$&'()*+,;=-]*))(?::[0-9]*)?")


def check_head(http_version: str, lines: HeaderLines, headers: Headers) -> None:
    """Refuse a request without a clear Host, or with a body in a coding that Everpost does not decode.

    Args:
        lines: All header lines.
        headers: The same by name; of repeated headers, the last.

    Raises:
        BadInput: There is no Host, more than one, or an invalid one (section 3.2).
        UnsupportedTransferCoding: The Transfer-Encoding is not `chunked` (section 6.1).
    """
    host = headers.get(b"host")
    if host is None:
        if http_version != "1.0":
            raise BadInput("The request has no Host.")
    elif not _is_host(host):
        raise BadInput("The Host is not a name or address with an optional port.")
    elif len(headers) < len(lines) and _count(lines, b"host") > 1:
        raise BadInput("The request has more than one Host.")
    coding = headers.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or _count(lines, b"transfer-encoding") > 1):
        raise UnsupportedTransferCoding


def name_of_host(host: bytes) -> str:
    """The name or address in a valid Host, ready to compare: without port and final dot."""
    match = HOST.fullmatch(host)
    name = (match[1] or match[2] or b"") if match else b""
    return name.decode("ascii").lower().removesuffix(".")


@lru_cache(256)  # almost all requests have the same few
def _is_host(value: bytes) -> bool:
    return HOST.fullmatch(value) is not None


def _count(lines: HeaderLines, wanted: bytes) -> int:
    return sum(name == wanted for name, _ in lines)
