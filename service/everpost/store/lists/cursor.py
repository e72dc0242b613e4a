"""A position in a list, and the cursor that clients carry for it."""

import base64
import binascii
from typing import Annotated

import msgspec
from msgspec import Meta

from everpost.errors import InvalidValue

MAX_CURSOR_CHARACTERS = 2_000
LAST = "~"  # sorts behind every time, and behind each text that begins with one

StoredInteger = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class Key(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A position in the order of a list: the stored `created_at` of a task, None if it has none, and its id.

    An original file may hold a number for a time; SQLite sorts it before every text.
    """

    created_at: str | StoredInteger | float | None
    task_id: str


BEGINNING = Key(LAST, "")
UNDATED = Key(None, "\U0010ffff")  # before the first row without created_at


def write_cursor(key: Key) -> str:
    """The cursor for a key."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def read_cursor(text: str) -> Key:
    """The key of a cursor that `write_cursor` made.

    Raises:
        InvalidValue: The text is not a cursor.
    """
    try:
        padded = text[:MAX_CURSOR_CHARACTERS].encode("ascii") + b"=" * (-len(text) % 4)
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=Key)
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise InvalidValue("This is not a cursor of a list.", "$.cursor") from error
