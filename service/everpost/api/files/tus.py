"""The headers of tus 1.0.0, the protocol of resumable uploads (https://tus.io/protocols/resumable-upload).

All of the core, and of the extensions in `EXTENSIONS`.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime

from everpost.api.http.bodies import Headers, media_type_of
from everpost.errors import InvalidValue, UnsupportedMedia, UnsupportedTus
from everpost.files.names import NAMELESS

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,expiration,termination"
OFFSET_STREAM = "application/offset+octet-stream"
MOST_METADATA = 4_096  # characters
MOST_DIGITS = 18

RESUMABLE = {"tus-resumable": VERSION}


def is_tus(headers: Headers) -> bool:
    """Whether the client speaks tus."""
    return b"tus-resumable" in headers


def check_version(headers: Headers) -> None:
    """Check that the client speaks this version.

    Raises:
        UnsupportedTus: It speaks another one, or none.
    """
    if headers.get(b"tus-resumable", b"").decode("latin-1") != VERSION:
        raise UnsupportedTus


def upload_length(headers: Headers) -> int | None:
    """`Upload-Length` of a new upload; None if the client says it later.

    Raises:
        InvalidValue: It is missing or no number.
    """
    if headers.get(b"upload-defer-length") == b"1" and b"upload-length" not in headers:
        return None
    return number_in(headers, "Upload-Length")


def number_in(headers: Headers, name: str) -> int:
    """The number in a header.

    Raises:
        InvalidValue: It is missing or no number.
    """
    value = headers.get(name.lower().encode(), b"")
    if not value.isdigit() or len(value) > MOST_DIGITS:
        raise InvalidValue(f"Send {name} as a whole number of bytes.", name)
    return int(value)


def upload_metadata(headers: Headers) -> str:
    """`Upload-Metadata` as the client sent it.

    Raises:
        InvalidValue: It is too long, or not ASCII.
    """
    value = headers.get(b"upload-metadata", b"")
    if len(value) > MOST_METADATA or not value.isascii():
        raise InvalidValue(f"It has at most {MOST_METADATA} ASCII characters.", "Upload-Metadata")
    return value.decode("ascii")


def filename_in(metadata: str) -> str:
    """The name of the file in `Upload-Metadata`: keys, each with a value in base64.

    Raises:
        InvalidValue: The metadata has another form.
    """
    values: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in metadata.split(","))):
        key, _, value = pair.partition(" ")
        try:
            values[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InvalidValue(f"The value of {key[:64]!r} is not UTF-8 in base64.", "Upload-Metadata") from error
    return values.get("filename") or values.get("name") or NAMELESS


def check_offset_stream(headers: Headers) -> None:
    """Check the type of the body of a PATCH.

    Raises:
        UnsupportedMedia: It is another one.
    """
    if media_type_of(headers) != OFFSET_STREAM:
        raise UnsupportedMedia(OFFSET_STREAM)


def expires_header(expires_at: str) -> Mapping[str, str]:
    """`Upload-Expires` for a time as the store has it."""
    return {"upload-expires": format_datetime(datetime.fromisoformat(expires_at), usegmt=True)}


OPTIONS_HEADERS = {**RESUMABLE, "tus-version": VERSION, "tus-extension": EXTENSIONS}
