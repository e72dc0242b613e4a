"""Writes Structs as lines of NDJSON, or as records of CSV (RFC 4180) that spreadsheets open without danger."""

import csv
import io
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

NDJSON = "application/x-ndjson"
CSV = "text/csv; charset=utf-8"
BYTE_ORDER_MARK = "\ufeff"  # without it, spreadsheets read another encoding than UTF-8
RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell begins with that spreadsheets take for a formula (https://owasp.org/www-community/attacks/CSV_Injection).

The last four are the full-width forms of the first four.
"""

Write = Callable[[Sequence[msgspec.Struct]], bytes]
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines


class Format(StrEnum):
    """The format of an export."""

    NDJSON = "ndjson"
    CSV = "csv"

    def media_type(self, *, with_head: bool) -> str:
        """Its media type."""
        return NDJSON if self is Format.NDJSON else f"{CSV}; header={'present' if with_head else 'absent'}"

    @property
    def write(self) -> Write:
        """Writes rows; each ends with a line break."""
        return _encode_lines if self is Format.NDJSON else write_records

    def head(self, kind: type[msgspec.Struct]) -> bytes:
        """What comes before the first row: of CSV, the names of the columns."""
        return b"" if self is Format.NDJSON else _written([kind.__struct_fields__], BYTE_ORDER_MARK)


def write_records(rows: Sequence[msgspec.Struct]) -> bytes:
    """Records of CSV, with the fields of the Structs in order. Null is an empty cell, an object is JSON."""
    return _written([[cell_of(getattr(row, name)) for name in row.__struct_fields__] for row in rows])


def cell_of(value: Any) -> str:
    """The text of a cell. A text that a spreadsheet could take for a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(RISKY) else value
    return _encode(value).decode()


def _written(records: Sequence[Sequence[str]], before: str = "") -> bytes:
    text = io.StringIO(newline="")
    text.write(before)
    csv.writer(text).writerows(records)
    return text.getvalue().encode()
