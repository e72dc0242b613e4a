"""Names of files: what is kept of a client's name, and the names on the disk. Pure functions."""

import re
import unicodedata

LONGEST_NAME = 255  # bytes in UTF-8
NAMELESS = "file"

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")
OWN_NAME = re.compile(r"(?P<file_id>[0-9a-f]{32})(\.[a-z0-9]{1,10})?")
"""The names of uploaded files."""


def clean_name(name: str) -> str:
    """A client's name for a file without folders, control and other invisible characters; `NAMELESS` if none is left.

    It is shown to people and passed to platforms. It is never part of a path here.
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(each for each in last if not unicodedata.category(each).startswith(("C", "Zl", "Zp"))).strip()
    kept = kept.encode("utf-8", "ignore")[:LONGEST_NAME].decode("utf-8", "ignore").strip()
    return NAMELESS if kept in {"", ".", ".."} else kept


def stored_name(file_id: str, filename: str, extension: str | None) -> str:
    """The name of an uploaded file on the disk: its id, and the suffix of its type, or else of its name."""
    if extension is not None:
        return f"{file_id}.{extension}"
    suffix = _SUFFIX.search(filename)
    return f"{file_id}{suffix.group().lower() if suffix else ''}"


def partial_name(file_id: str) -> str:
    """The name of an upload that is not complete."""
    return f"{file_id}.part"
