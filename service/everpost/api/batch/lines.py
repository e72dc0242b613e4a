"""Splits an NDJSON stream (https://github.com/ndjson/ndjson-spec) into lines of limited size."""

from collections.abc import Iterator


class LineReader:
    """Splits a stream into lines, without blank ones. It never keeps more than one line and one chunk.

    A line longer than `limit_bytes` is skipped, and None stands in its place.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._rest = b""
        self._is_skipping = False

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """The lines that end in `chunk`."""
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            yield from self._line(self._rest + part)
            self._rest, self._is_skipping = b"", False
        if not self._is_skipping:
            self._rest += rest
        if len(self._rest) > self._limit:
            self._rest, self._is_skipping = b"", True

    def end(self) -> Iterator[bytes | None]:
        """The last line, if no newline ended it."""
        yield from self._line(self._rest)

    def _line(self, line: bytes) -> Iterator[bytes | None]:
        if self._is_skipping or len(line) > self._limit:
            yield None
        elif line := line.strip():
            yield line
