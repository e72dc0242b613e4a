"""Valkey servers that the stacks of one test process use one after another: a start takes longer than many a test."""

import asyncio
import atexit
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from redis import Redis, RedisError

from everpost import testing
from everpost.children import Child
from everpost.embedded import EmbeddedValkey
from everpost.testing import Stack

ANSWERED_S = 10.0


@dataclass(frozen=True)
class Idle:
    """A running server without a key, and what it is like."""

    child: Child
    socket: Path
    folder: Path
    likeness: Any


idle: list[Idle] = []


class LentValkey(EmbeddedValkey):
    """The server of a stack. One that no test got hold of or changed is emptied, and lent to the next stack.

    Attributes:
        is_known: The test got hold of it, so it is stopped where the test or the stack stops it.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        super().__init__(folder, durable=durable)
        self.is_known = durable
        self._likeness: Any = None

    async def start(self) -> Self:
        """Take an idle server, or start one."""
        if self.is_known or self.child is not None:
            return await super().start()
        if not idle:
            return await self._start_new()
        lent = idle.pop()
        self._remove_socket()
        self.child, self.socket, self.folder, self._likeness = lent.child, lent.socket, lent.folder, lent.likeness
        return self

    async def _start_new(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="everpost-lent-"))  # the stack's is removed before the server
        await super().start()
        assert self.child is not None
        with self.child.starting():
            self._likeness = await asyncio.to_thread(emptied, self.socket)
        return self

    async def stop(self, grace_s: float = 30.0) -> None:
        """Keep it for the next stack if it is as it was, and stop it otherwise."""
        if not self.is_known and self.child is not None and self.child.exit_code is None:
            with suppress(RedisError):
                if await asyncio.to_thread(emptied, self.socket) == self._likeness:  # the loop sees who is cut off
                    idle.append(Idle(self.child, self.socket, self.folder, self._likeness))
                    self.child = None
                    return
        await super().stop(grace_s)
        if self._likeness is not None:  # it has a folder of its own
            shutil.rmtree(self.folder, ignore_errors=True)


def emptied(socket: Path) -> Any:
    """Empty the server of all that clients can leave in it, and cut them off; return its settings and users."""
    with Redis(unix_socket_path=str(socket), socket_timeout=ANSWERED_S) as redis:
        commands = redis.pipeline(transaction=False)
        for kind in ("normal", "pubsub"):
            commands.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        for command in ("FLUSHALL SYNC", "SCRIPT FLUSH SYNC", "FUNCTION FLUSH SYNC", "SLOWLOG RESET"):
            commands.execute_command(*command.split())
        for command in ("CONFIG RESETSTAT", "CONFIG GET *", "ACL LIST"):
            commands.execute_command(*command.split())
        return commands.execute()[-2:]


def lend_servers() -> None:
    """Give stacks a lent server, until a test asks a stack for its server."""
    shown: property = vars(Stack)["valkey"]

    def valkey(stack: Stack) -> EmbeddedValkey:
        server: EmbeddedValkey = shown.__get__(stack)
        if isinstance(server, LentValkey):
            server.is_known = True
        return server

    setattr(Stack, "valkey", property(valkey))  # noqa: B010 - mypy knows no other property in its place
    setattr(testing, "EmbeddedValkey", LentValkey)  # noqa: B010 - a name of the module's own
    atexit.register(stop_all)


def stop_all() -> None:
    """Stop the idle servers."""
    for lent in idle:
        lent.child.kill()
        shutil.rmtree(lent.socket.parent, ignore_errors=True)
        shutil.rmtree(lent.folder, ignore_errors=True)
