"""Finds whole rows in the bytes of an export, and the cursor that goes on behind the last one."""

from collections.abc import Iterable, Iterator

import msgspec


class _Row(msgspec.Struct):
    cursor: str


class RowCutter:
    """Takes bytes as they come, and gives whole rows. A record of CSV ends at a line break outside of quotes."""

    def __init__(self, format_: str) -> None:
        self._is_csv = format_ == "csv"
        self._left = b""
        self.last = b""

    def feed(self, chunk: bytes) -> tuple[bytes, int]:
        """The whole rows that are there now, and how many; the last of them is kept in `last`."""
        text = self._left + chunk
        start = count = 0
        for end in self._ends_in(text):
            self.last = text[start:end]
            start, count = end, count + 1
        self._left = text[start:]
        return text[:start], count

    def cursor(self) -> str | None:
        """The cursor in the last row; None if that row is the head, or no row has come."""
        if not self.last:
            return None
        if self._is_csv:
            cursor = self.last.rstrip(b"\r\n").rpartition(b",")[2].decode()
            return None if cursor == "cursor" else cursor
        return msgspec.json.decode(self.last, type=_Row).cursor

    def _ends_in(self, text: bytes) -> Iterator[int]:
        start = begin = 0
        while (found := text.find(b"\n", start)) >= 0:
            start = found + 1
            if not self._is_csv or text.count(b'"', begin, start) % 2 == 0:
                yield start
                begin = start


def whole_rows(chunks: Iterable[bytes], format_: str, *, has_head: bool) -> Iterator[tuple[bytes, int, str | None]]:
    """Whole rows, how many tasks they are, and the cursor of the last one."""
    cutter = RowCutter(format_)
    for chunk in chunks:
        text, count = cutter.feed(chunk)
        if count:
            yield text, count - has_head, cutter.cursor()
            has_head = False


def last_cursor(chunks: Iterable[bytes], format_: str) -> tuple[str | None, int]:
    """The cursor of the last whole row, and the bytes up to its end; (None, 0) if no task is whole."""
    cutter = RowCutter(format_)
    size_bytes = 0
    for chunk in chunks:
        size_bytes += len(cutter.feed(chunk)[0])
    cursor = cutter.cursor()
    return (None, 0) if cursor is None else (cursor, size_bytes)
