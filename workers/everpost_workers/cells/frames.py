"""The messages between a worker and its cell: msgpack frames over a Unix socket, each preceded by its length.

A cell is a child process that runs attempts of suspects, see `isolation.py`.
"""

import asyncio
import contextlib
import socket
import struct
from enum import StrEnum
from pathlib import Path
from typing import Self

import msgspec

from everpost.publishing import Media, NotFound
from everpost.task.model import BytesSent, SendPhase

_LENGTH = struct.Struct("!I")


class Verb(StrEnum):
    """The publisher's method to call."""

    PUBLISH = "publish"
    LOOK_UP = "look_up"


class SentAccount(msgspec.Struct, frozen=True):
    """The account of a call; `options` is JSON. Its credentials are asked for, see `accounts.py`."""

    id: str
    options: bytes
    is_registered: bool


class Call(msgspec.Struct, frozen=True, tag=True):
    """Worker to cell: call a publisher. `data` is the task's data as JSON, `saved` its checkpoint."""

    number: int
    verb: Verb
    task_id: str
    data: bytes
    platform: str
    attempt: int
    idempotency_key: str
    saved: bytes
    account: SentAccount
    files: tuple[Media, ...] = ()
    trace_context: dict[str, str] = msgspec.field(default_factory=dict)


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Worker to cell: cancel that call."""

    number: int


class Kept(msgspec.Struct, frozen=True, tag=True):
    """Worker to cell: the call's oldest unanswered checkpoint is saved, or else refused."""

    number: int
    refusal: str | None


class Told(msgspec.Struct, frozen=True, tag=True):
    """Worker to cell: the answer to an `Asked`.

    Attributes:
        values: Credentials by name.
        publish_error: The name of the `PublishError` class of the refusal.
        refusal: Why there is no answer; None if there is one.
    """

    number: int
    question: int
    values: dict[str, str] = msgspec.field(default_factory=dict)
    are_fresh: bool = False
    publish_error: str | None = None
    refusal: str | None = None


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Cell to worker: the publishers are open."""


class Said(msgspec.Struct, frozen=True, tag=True):
    """Cell to worker: the publisher's report of its progress."""

    number: int
    phase: SendPhase
    bytes_sent: BytesSent
    last_words: str | None


class Keep(msgspec.Struct, frozen=True, tag=True):
    """Cell to worker: save a checkpoint; `Kept` is the answer."""

    number: int
    checkpoint: bytes


class Shown(msgspec.Struct, frozen=True, tag=True):
    """Cell to worker: how far the attempt has come."""

    number: int
    done: float
    total: float | None


class AccountVerb(StrEnum):
    """What a call wants of its account."""

    READ = "read"  # the credentials
    LOCK = "lock"
    STORE = "store"
    UNLOCK = "unlock"


class Asked(msgspec.Struct, frozen=True, tag=True):
    """Cell to worker: something of the call's account; `Told` with the same `question` is the answer."""

    number: int
    question: int
    verb: AccountVerb
    tokens: dict[str, str] = msgspec.field(default_factory=dict)


class Returned(msgspec.Struct, frozen=True, tag=True):
    """Cell to worker: a `PublishResult`; `detail` is JSON."""

    number: int
    provider_post_id: str | None
    publish_url: str | None
    detail: bytes


class Missing(msgspec.Struct, frozen=True, tag=True):
    """Cell to worker: a look-up found no post."""

    number: int
    verdict: NotFound


class Raised(msgspec.Struct, frozen=True, tag=True):
    """Cell to worker: the call raised an exception.

    Attributes:
        publish_error: The name of the `PublishError` class it belongs to; None if it is not a `PublishError`.
        name: The name of its own class.
        trace: Its traceback as text.
    """

    number: int
    publish_error: str | None
    name: str
    message: str
    retry_after_s: float | None
    trace: str


Request = Call | Stop | Kept | Told
Answer = Returned | Missing | Raised
Report = Ready | Said | Keep | Shown | Asked | Answer


def _read_path(wanted: type, value: object) -> object:
    if wanted is Path:
        return Path(str(value))
    raise TypeError(wanted)


_encoder = msgspec.msgpack.Encoder(enc_hook=str)  # of paths
_requests = msgspec.msgpack.Decoder(Request, dec_hook=_read_path)
_reports = msgspec.msgpack.Decoder(Report)


class FrameLine:
    """One end of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def on(cls, end: socket.socket) -> Self:
        """The line over a connected socket, which it closes later."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def write(self, frame: Request | Report) -> None:
        """Send a frame. A closed other side is noticed only when reading."""
        data = _encoder.encode(frame)
        self._writer.write(_LENGTH.pack(len(data)) + data)

    async def flush(self) -> None:
        """Wait until all frames have been sent, or the other side has closed."""
        with contextlib.suppress(OSError):
            await self._writer.drain()

    async def read_request(self) -> Request | None:
        """The next request; None at the end."""
        data = await self._read()
        return None if data is None else _requests.decode(data)

    async def read_report(self) -> Report | None:
        """The next report; None at the end."""
        data = await self._read()
        return None if data is None else _reports.decode(data)

    async def _read(self) -> bytes | None:
        try:
            head = await self._reader.readexactly(_LENGTH.size)
            return await self._reader.readexactly(_LENGTH.unpack(head)[0])
        except (asyncio.IncompleteReadError, OSError):
            return None

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()
