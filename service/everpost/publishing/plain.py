"""Makes plain JSON values of a publisher's result, with a size limit and without running the result's own code.

It limits the size while it walks. Encoding first took 14 GB for a result of 600 MB, which was then thrown away.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import msgspec

from everpost.publishing.trace import storable_text

DEEPEST = 32  # levels of nested containers
LONGEST_KEY = 200  # characters
LARGEST_INT_BITS = 256
SMALLEST = 4  # the least bytes a value counts for, so that none is free

_encode = msgspec.json.Encoder().encode
_TEXTS = frozenset({datetime, date, time, timedelta, UUID, Decimal})  # msgspec writes each of these as a text


def plain(value: Any, most_bytes: int) -> tuple[Any, bool]:
    """The value as dicts, lists, texts, numbers, bools and None, and whether something was left out.

    Args:
        most_bytes: The most the result may take as JSON. The first parts are kept.
    """
    walk = _Walk(most_bytes)
    made = walk.make(value, 0)
    return made, walk.was_cut


class _Walk:
    """One walk over a value; `left` is the remaining number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self.left = most_bytes
        self.was_cut = False

    def make(self, value: Any, depth: int) -> Any:
        """The plain value; None if there is no room."""
        kind = type(value)
        if value is None or kind is bool:
            return self._spend(value, 5 if value is False else SMALLEST)
        if issubclass(kind, Enum):
            return self.make(value._value_, depth)
        if (make := _maker_of(kind)) is not None:
            return make(self, value)
        if depth == DEEPEST:
            return self._cut()
        return self._make_container(value, kind, depth)

    def _make_container(self, value: Any, kind: type, depth: int) -> Any:
        if issubclass(kind, dict):
            return self._make_dict(dict.items(value), depth)
        if issubclass(kind, msgspec.Struct):
            return self._make_dict(_fields(value, kind.__struct_fields__), depth)
        if dataclasses.is_dataclass(kind):
            return self._make_dict(_fields(value, kind.__dataclass_fields__), depth)
        for sequence in (list, tuple, set, frozenset):
            if issubclass(kind, sequence):
                return self._make_list(sequence.__iter__(value), depth)
        return self._make_text(f"<{kind.__module__}.{kind.__qualname__}>")

    def _make_dict(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        self.left -= 2
        for key, value in self._within(items):
            name = _name_of(key)
            self.left -= len(_encode(name)) + 2
            if self.left <= 0:
                self.was_cut = True
                break
            made[name] = self.make(value, depth + 1)
        return made

    def _make_list(self, items: Iterator[Any], depth: int) -> list[Any]:
        made: list[Any] = []
        self.left -= 2
        for value in self._within(items):
            self.left -= 1
            made.append(self.make(value, depth + 1))
        return made

    def _within(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items while there is room; iteration also ends if the container is changed meanwhile."""
        try:
            for item in items:
                if self.left <= SMALLEST:
                    self.was_cut = True
                    return
                yield item
        except RuntimeError:
            self.was_cut = True

    def _make_text(self, value: str) -> Any:
        room = self.left - 2
        if room <= 0:
            return self._cut()
        text = storable_text(str.__getitem__(value, slice(room)))
        self.was_cut |= len(text) < len(value)
        while (size_bytes := len(_encode(text)) - 2) > room:
            self.was_cut = True
            text = text[: min(len(text) - 1, len(text) * room // size_bytes)]
        return self._spend(text, size_bytes + 2)

    def _make_int(self, value: int) -> Any:
        number = int.__add__(value, 0)
        if number.bit_length() > LARGEST_INT_BITS:
            return self._make_text(f"<an integer of {number.bit_length()} bits>")
        return self._spend(number, max(SMALLEST, len(str(number))))

    def _make_float(self, value: float) -> Any:
        return self._spend(float.__mul__(value, 1.0), 24)

    def _make_bytes(self, value: bytes | bytearray) -> Any:
        return self._make_text(_encode(value).decode()[1:-1]) if len(value) < self.left else self._cut()

    def _make_stated(self, value: Any) -> Any:
        return self._make_text(str(msgspec.to_builtins(value)))

    def _make_path(self, value: PurePath) -> Any:
        return self._make_text(PurePath.__str__(value))

    def _spend(self, made: Any, size_bytes: int) -> Any:
        if size_bytes > self.left:
            return self._cut()
        self.left -= max(SMALLEST, size_bytes)
        return made

    def _cut(self) -> Any:
        """Null in place of a value without room."""
        self.was_cut = True
        self.left -= SMALLEST
        return None


def _maker_of(kind: type) -> Callable[[_Walk, Any], Any] | None:
    """The function that makes a value of this type, for types without members; a subclass's own methods are ignored."""
    for base, maker in _MAKERS:
        if issubclass(kind, base):
            return maker
    if kind in {bytes, bytearray}:
        return _Walk._make_bytes  # noqa: SLF001 - a method of this file's
    return _Walk._make_stated if kind in _TEXTS else None  # noqa: SLF001 - as above


_MAKERS: tuple[tuple[type, Callable[[_Walk, Any], Any]], ...] = (
    (str, _Walk._make_text),  # noqa: SLF001 - as above
    (int, _Walk._make_int),  # noqa: SLF001 - as above
    (float, _Walk._make_float),  # noqa: SLF001 - as above
    (PurePath, _Walk._make_path),  # noqa: SLF001 - as above
)


def _fields(value: Any, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The fields of a Struct or dataclass; a field that raises when it is read is left out."""
    for name in names:
        try:
            field = getattr(value, name)
        except BaseException:  # noqa: BLE001, S112 - foreign code may raise anything; no cancellation, as nothing awaits
            continue
        yield name, field


def _name_of(key: Any) -> str:
    kind = type(key)
    if issubclass(kind, str):
        return storable_text(str.__getitem__(key, slice(LONGEST_KEY)))
    if key is None or kind in {bool, float} or (kind is int and key.bit_length() <= LARGEST_INT_BITS):
        return str(key)
    return f"<{kind.__qualname__}>"
