import io
import sys

import msgspec
import pytest

from everpost.bench.programs import write_answer


class FullPipe(io.RawIOBase):
    """Takes a few bytes of each write, as the standard output of an unbuffered Python may."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        self.taken += bytes(data[:7])
        return min(7, len(data))


class Unbuffered:
    """A standard output whose `buffer` is the file itself."""

    def __init__(self, buffer: FullPipe) -> None:
        self.buffer = buffer


def test_an_answer_is_written_whole_though_the_pipe_takes_it_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = FullPipe()
    monkeypatch.setattr(sys, "stdout", Unbuffered(pipe))
    write_answer(["x" * 100])
    monkeypatch.undo()
    assert msgspec.msgpack.decode(pipe.taken) == ["x" * 100]
