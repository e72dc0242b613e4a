"""The type of a file by its first bytes."""

import mimetypes
from typing import NamedTuple

HEAD_BYTES = 8_192
UNKNOWN = "application/octet-stream"

_TOLD_BY_CONTENT = (
    "image/",
    "video/",
    "audio/",
    "font/",
)  # what such a name says counts only if the content says so too


class Kind(NamedTuple):
    """A media type, and the usual extension of its files; None if the content does not tell it."""

    content_type: str
    extension: str | None = None


def kind_of(head: bytes, filename: str) -> Kind:
    """The type of a file that begins with `head`.

    The content decides. The name is asked only for types without a signature, such as plain text.
    """
    import filetype  # noqa: PLC0415 - only uploads need it

    found = filetype.guess(head)
    if found is not None:
        return Kind(found.mime, found.extension)
    named = mimetypes.guess_type(filename)[0]
    if named is None or named.startswith(_TOLD_BY_CONTENT):
        return Kind(UNKNOWN)
    return Kind(named)
