"""Faults of the database file and its disk, while real processes use them."""

import asyncio
import errno
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from chaos_kit.processes import PythonProcess
from everpost.children import Child
from everpost.testing import eventually

PIECES_BYTES = (1 << 24, 1 << 12)
REFUSED = ("Operation not permitted", "ptrace", "Permission denied")


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of that size at `folder`; skips the test if mounting is not allowed."""
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(folder)]
    done = subprocess.run(mounting, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def moved_away(path: Path) -> Iterator[Path]:
    """Move a file away for a while."""
    elsewhere = path.rename(path.with_name(f"{path.name}.moved"))
    try:
        yield elsewhere
    finally:
        elsewhere.rename(path)


def free_bytes(folder: Path) -> int:
    """The free space."""
    return shutil.disk_usage(folder).free


@contextmanager
def filled(folder: Path, *, leave: int = 0) -> Iterator[None]:
    """Fill a disk for a while, until only `leave` bytes are free."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        for piece in PIECES_BYTES:
            while free_bytes(folder) - leave >= piece:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), piece)
                except OSError as error:  # other writers have taken the room
                    if error.errno != errno.ENOSPC:
                        raise
    try:
        yield
    finally:
        filler.unlink()


@asynccontextmanager
async def failing(process: PythonProcess, path: Path, call: str, how: str) -> AsyncIterator[None]:
    """Make a system call on a file fail for a while, in a running process; skips the test if strace cannot.

    Args:
        how: In the form of strace's `inject`: `error=EIO`, `delay_enter=5s`.
    """
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace, which makes a system call fail, is not installed (Debian: apt install strace)")
    assert process.child is not None
    log = path.parent / f"strace-{process.name}.log"
    argv = [program, "-f", "-o", "/dev/null", "-P", str(path), "-e", f"trace={call}"]
    argv += ["-e", f"inject={call}:{how}", "-p", str(process.child.pid)]
    with log.open("wb") as output:
        tracer = Child(argv, output=output)

    async def is_attached() -> bool:
        said = log.read_text()
        if tracer.exit_code is not None:
            assert any(reason in said for reason in REFUSED), said
            pytest.skip(f"strace may not attach here: {said.strip()}")
        return "attached" in said

    await eventually(is_attached, what="strace at work")
    try:
        yield
    finally:
        await tracer.stop()


@asynccontextmanager
async def all_failing(processes: list[PythonProcess], path: Path, call: str, how: str) -> AsyncIterator[None]:
    """`failing` in several processes."""
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(failing(one, path, call, how)) for one in processes))
        yield
