"""Reads what was told of tasks (`event_teller.py`), over a connection of its own, because it waits there for news."""

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from typing import Any
from uuid import uuid4

import hiredis
import msgspec
from redis.exceptions import NoScriptError

from everpost.errors import QueueUnreachable
from everpost.queue.keys import EVENTS
from everpost.queue.redis_server import UNREACHABLE, RedisServer, read_script

MOST_BYTES = 64 << 20  # of events in Redis; less if its maxmemory is small
ANSWER_S = 2.0  # a Redis that is silent for longer counts as away
TAG_DIGITS = 10


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What can be read.

    Attributes:
        tag: Names the stream, and the run of the server. With another one, something may have been lost.
        first: The number of the first entry that is still there; if the stream is empty, that of the next entry.
        last: The number of the last entry; 0 before the first entry.
        now_ms: The server's time.
    """

    tag: str
    first: int
    last: int
    now_ms: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to some tasks at one time.

    Attributes:
        number: Entries are numbered without a gap.
        kind: As in `Told`.
        at_ms: By the server's time.
        texts: More about each task, one text a task; empty for kinds without such texts.
    """

    number: int
    kind: str
    task_ids: Sequence[str]
    at_ms: int
    texts: Sequence[str] = ()


class EventLog:
    """Reads the stream. Every method may raise `QueueUnreachable`; the next call connects again.

    It does not use the breaker of the other calls: a slow answer here is no reason to let tasks wait.
    """

    def __init__(self, server: RedisServer) -> None:
        self._connection = server.redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection.socket_timeout = None
        self._has_sentinels = server.has_sentinels
        self._hear = read_script("hear", "telling")
        self._sha = sha1(self._hear.encode(), usedforsecurity=False).hexdigest()
        self._server = server

    async def hear(self, kept_ms: int) -> Heard:
        """Have events written for `kept_ms` from now on at least, and learn what can be read."""
        arguments = (0, uuid4().hex, kept_ms, MOST_BYTES)
        try:
            answer = await self._ask(ANSWER_S, "EVALSHA", self._sha, *arguments)
        except NoScriptError:
            answer = await self._ask(ANSWER_S, "EVAL", self._hear, *arguments)
        name, last, first, run_id, replication_id, now_ms = answer
        term = b":" + replication_id if self._has_sentinels else b""
        tag = sha1(name + b":" + run_id + term, usedforsecurity=False).hexdigest()[:TAG_DIGITS]
        try:
            number = int(last)
            return Heard(tag=tag, first=int(first or number + 1), last=number, now_ms=int(now_ms))
        except ValueError as error:  # another program wrote it
            await self._ask(ANSWER_S, "UNLINK", EVENTS, f"{EVENTS}:state")
            raise QueueUnreachable("the stream of events was overwritten") from error

    async def wait(self, after: int, most: int, within_ms: int) -> list[Entry]:
        """The next entries, as soon as there are any; an empty list after `within_ms`."""
        command = ("XREAD", "COUNT", most, "BLOCK", max(1, within_ms), "STREAMS", EVENTS, f"{after}-0")
        answer = await self._ask(within_ms / 1000 + ANSWER_S, *command)
        return [] if not answer else _entries(answer[0][1])

    async def read(self, first: int, most: int) -> list[Entry]:
        """Entries from the number `first` on, over a connection that all other calls use."""
        answer: list[Any] = await self._server.ask(self._server.redis.xrange(EVENTS, f"{first}-0", "+", count=most))
        return _entries(answer)

    async def drop(self) -> None:
        """Close the connection without waiting; a later call opens it again."""
        await self._connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.disconnect()

    async def _ask(self, within_s: float, *command: str | bytes | int) -> Any:
        try:
            async with asyncio.timeout(within_s):
                await self._connection.send_packed_command(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub only knows tuples of one element
                return await self._connection.read_response()
        except NoScriptError:
            raise
        except UNREACHABLE as error:
            await self._connection.disconnect(nowait=True)
            raise QueueUnreachable(str(error)) from error


def _entries(answer: Sequence[Any]) -> list[Entry]:
    return [entry for number, fields in answer if (entry := _entry(number, fields)) is not None]


def _entry(number: bytes, fields: Sequence[bytes] | dict[bytes, bytes] | None) -> Entry | None:
    """The entry; None if another program wrote it, which leaves a gap."""
    named = fields if isinstance(fields, dict) else dict(zip((fields or ())[::2], (fields or ())[1::2], strict=False))
    try:
        return Entry(
            number=int(number.partition(b"-")[0]),
            kind=named[b"t"].decode(),
            task_ids=_lines(named[b"i"]),
            at_ms=int(named[b"m"]),
            texts=_lines(named[b"x"]) if b"x" in named else (),
        )
    except (KeyError, ValueError):
        return None


def _lines(text: bytes) -> Sequence[str]:
    return text.decode(errors="backslashreplace").split("\n")
