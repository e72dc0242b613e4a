"""A power cut: the files as a disk may have them that had promised only what was flushed.

The program under test runs under strace, whose log has every write and flush of its database in order. Replayed up to
any line, it gives the files a power cut at that moment may leave behind: what was flushed is there, what was written
since then is lost, or there in any part.
"""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

TRACED = "pwrite64,fsync,fdatasync,ftruncate,write"
CALL = re.compile(r"^\d+ +(?P<name>\w+)\(\d+<(?P<path>[^>]*)>(?:, )?(?P<rest>.*)\) += (?P<result>-?\d+)")
DATA = re.compile(r'^"(?P<data>[^"]*)", \d+(?:, (?P<offset>\d+))?')
SECTOR_BYTES = 512
KEPT_SHARE = 0.5


class Call(msgspec.Struct, frozen=True):
    """A system call that went well. `number` is the offset of a write, or the new size of a file."""

    name: str
    path: str
    data: bytes = b""
    number: int = 0


def read_calls(log: Path) -> Iterator[Call]:
    """The calls of a log made with `strace -f -y -xx -e trace=TRACED`."""
    for line in log.read_text("ascii").splitlines():
        if (found := CALL.match(line)) is None or int(found["result"]) < 0:
            continue
        written = DATA.match(found["rest"])
        if written is not None:
            data = bytes.fromhex(written["data"].replace("\\x", ""))
            yield Call(found["name"], plain(found["path"]), data, int(written["offset"] or 0))
        else:
            number = int(found["rest"]) if found["name"] == "ftruncate" else 0
            yield Call(found["name"], plain(found["path"]), number=number)


def plain(path: str) -> str:
    """A path that strace has written in hexadecimal."""
    return bytes.fromhex(path.replace("\\x", "")).decode() if path.startswith("\\x") else path


class Disk:
    """Some files, flushed and not.

    Args:
        files: What they hold at first, all of it flushed.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self._flushed = {path: bytearray(content) for path, content in files.items()}
        self._pending: dict[str, list[Call]] = {path: [] for path in files}

    def replay(self, call: Call) -> None:
        """Let the program have made one more call."""
        if call.path not in self._pending:
            return
        if call.name in {"fsync", "fdatasync"}:
            for pending in self._pending[call.path]:
                apply(self._flushed[call.path], pending)
            self._pending[call.path].clear()
        else:
            self._pending[call.path].append(call)

    def cut(self, chance: random.Random | None = None) -> dict[str, bytes]:
        """The files after a power cut; with `chance`, some unflushed sectors are still there."""
        left = {path: bytearray(content) for path, content in self._flushed.items()}
        if chance is not None:
            for path, calls in self._pending.items():
                for part in (part for call in calls for part in sectors(call) if chance.random() < KEPT_SHARE):
                    apply(left[path], part)
        return {path: bytes(content) for path, content in left.items()}


def apply(content: bytearray, call: Call) -> None:
    """Do to a file what a call does."""
    if call.name == "ftruncate":
        content[call.number :] = bytes(max(0, call.number - len(content)))
        return
    end = call.number + len(call.data)
    content.extend(bytes(max(0, end - len(content))))
    content[call.number : end] = call.data


def sectors(call: Call) -> Sequence[Call]:
    """A write in the parts that a disk writes whole."""
    if call.name == "ftruncate":
        return [call]
    starts = range(0, len(call.data), SECTOR_BYTES)
    return [Call(call.name, call.path, call.data[at : at + SECTOR_BYTES], call.number + at) for at in starts]
