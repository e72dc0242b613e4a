"""Publishers that strain their worker, installed like real ones, and the catalogue that assigns platforms to them.

A post's field `do` decides what its attempt does; see `TRIALS`. Each attempt that succeeds appends a line to `effects`.
"""

from pathlib import Path

import msgspec

MODULE = '''
import asyncio
import ctypes
import os
import pathlib
import signal
import sys
import time

from everpost import publishing as base

HERE = pathlib.Path(__file__).parent


async def until_open():
    """Wait at the gate, so that many attempts are under way at once."""
    while not (HERE / "gate").exists():
        await asyncio.sleep(0.02)


async def deaf():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass


async def raises(error):
    raise error


TRIALS = {
    "exit": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "deaf": deaf,
    "block": lambda: time.sleep(3600),
    "GeneratorExit": lambda: raises(GeneratorExit()),
    "KeyboardInterrupt": lambda: raises(KeyboardInterrupt()),
    "SystemExit": lambda: sys.exit(4),
    "CancelledError": lambda: raises(asyncio.CancelledError()),
    "slow": lambda: asyncio.sleep(3600),
}


class Trying(base.Publisher):
    async def publish(self, job):
        note(HERE / "calls", job)
        await until_open()
        what = job.data.get("do")
        if what is not None:
            done = TRIALS[what]()
            if done is not None:
                await done
        await asyncio.sleep(0.1)
        note(HERE / "effects", job)
        return base.PublishResult(provider_post_id=job.task_id)


def note(path, job):
    with path.open("a") as file:
        file.write(f"{job.task_id} {os.getpid()}\\n")


class Local(Trying):
    publisher_class = base.PublisherClass.LOCAL


class Keyed(Trying):
    publisher_class = base.PublisherClass.KEYED


class Plain(Trying):
    pass
'''
NAMES = {"xiaohongshu": "Local", "douyin": "Keyed", "kuaishou": "Plain"}
LOCAL, KEYED, PLAIN = NAMES
PLATFORMS = "".join(
    f'[platforms.{name}]\npublisher = "{kind.lower()}"\noptions = {{}}\n' for name, kind in NAMES.items()
)


class Trial:
    """The installed publishers of one folder.

    Attributes:
        settings: What `everpost` needs to find them: an EVERPOST_ setting, and Python's path.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        (folder / "trying.py").write_text(MODULE)
        metadata = folder / "trying-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: trying\nVersion: 1\n")
        entries = "".join(f"{kind.lower()} = trying:{kind}\n" for kind in NAMES.values())
        (metadata / "entry_points.txt").write_text(f"[everpost.publishers]\n{entries}")
        (folder / "platforms.toml").write_text(PLATFORMS)

    @property
    def platforms(self) -> str:
        return str(self._folder / "platforms.toml")

    @property
    def python_path(self) -> str:
        return str(self._folder)

    def open_gate(self) -> None:
        """Let all attempts continue."""
        (self._folder / "gate").touch()

    def calls(self) -> list[str]:
        """The task of each attempt that began."""
        return self._tasks("calls")

    def effects(self) -> list[str]:
        """The task of each attempt that succeeded."""
        return self._tasks("effects")

    def _tasks(self, name: str) -> list[str]:
        path = self._folder / name
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def as_json(post: dict[str, object]) -> bytes:
    """A post's body."""
    return msgspec.json.encode(post)
