"""Fits the rows of one store into another one, for `everpost move`."""

import math
from collections.abc import Collection, Sequence

from everpost.store.moving import BYTES, COLUMNS, IDENTIFIED, NEEDED, NUMBERS, REALS, Fitted, Row, Table, Value


def refusal_of(table: Table, row: Row) -> str:
    """Why a row cannot be kept by a store whose ids are unique; empty if it can. The history has rows without an id."""
    if table not in IDENTIFIED:
        return ""
    if row.values[IDENTIFIED[table]] is None and table is not Table.HISTORY:
        return "it has no id"
    return "a newer row has its id" if row.is_outdated else ""


def fit_values(table: Table, values: Sequence[Value], *, has_nul: bool = True, small: Collection[str] = ()) -> Fitted:
    """Give every value the type of its column.

    Args:
        has_nul: Texts can have the character NUL.
        small: The columns of numbers that have 32 bits; all others have 64.
    """
    fitted, faults = [], []
    for column, value in zip(COLUMNS[table], values, strict=True):
        kept, fault = _fit(column, value, has_nul=has_nul, bits=32 if column in small else 64)
        fitted.append(kept)
        if fault:
            faults.append(f"{column} {fault}")
    return Fitted(tuple(fitted), tuple(faults))


def _fit(column: str, value: Value, *, has_nul: bool, bits: int) -> tuple[Value, str]:
    if value is None:
        return None, ""
    if column in BYTES:
        return (value, "") if isinstance(value, bytes) else (_bytes_of(value), "is not bytes")
    if column in REALS:
        is_real = isinstance(value, int | float) and math.isfinite(value)
        return (value, "") if is_real else (None, "is not a number")
    if column in NUMBERS:
        is_number = isinstance(value, int) and -(1 << bits - 1) <= value < 1 << bits - 1
        return (value, "") if is_number else (0 if column in NEEDED else None, "is not a whole number, or too large")
    return _fit_text(value, has_nul=has_nul)


def _bytes_of(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


def _fit_text(value: Value, *, has_nul: bool) -> tuple[str, str]:
    text = value if isinstance(value, str) else _text_of(value)
    fault = "" if isinstance(value, str) else "is not text"
    if not is_utf8(text):
        text, fault = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), "is not UTF-8"
    if "\0" in text and not has_nul:
        text, fault = text.replace("\0", "\ufffd"), "has a NUL character"
    return text, fault


def _text_of(value: Value) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def is_utf8(text: str) -> bool:
    """Whether a text is UTF-8 in the store that it comes from."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
