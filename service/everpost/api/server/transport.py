"""Sends uvicorn's writes with fewer system calls."""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable
from typing import Any

MOST_HELD_BYTES = 65_536
COUNT = struct.Struct("i")


class JoinedWrites:
    """A transport that joins all writes of one turn of the event loop.

    uvicorn writes an answer's head and body separately, and uvloop sends each with its own system call. Both sides pay
    for that: 8 % of the cost of accepting a task here, and a third of the client's cost.

    Args:
        on_close: Called when the transport should be closed; it calls `end` or `close_transport`.
    """

    __slots__ = ("_held", "_loop", "_on_close", "_transport", "_written_bytes", "is_closing", "is_ended")

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, on_close: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._on_close = on_close
        self._held = b""
        self._written_bytes = 0
        self.is_closing = transport.is_closing  # called for every request
        self.is_ended = False

    def write(self, data: bytes) -> None:
        """Send it at the end of this turn, or now if it is large."""
        if not self._held:
            self._loop.call_soon(self._send)
        self._held += data
        if len(self._held) > MOST_HELD_BYTES:
            self._send()

    def write_now(self, data: bytes) -> None:
        """Send it now, behind what is held."""
        self._send()
        if not self.is_closing():
            self._written_bytes += len(data)
            self._transport.write(data)

    def close(self) -> None:
        """Send the held data, then close."""
        self._send()
        self._on_close()

    def end(self) -> None:
        """Tell the client that nothing more will be written; its data can still be read."""
        self.is_ended = True
        self.is_closing = _yes
        self._transport.write_eof()

    def close_transport(self) -> None:
        """Close it after all data is sent."""
        self._transport.close()

    def sent_bytes(self) -> int:
        """The written bytes that have reached the client's system or, if that is unknown, left this process."""
        return self._written_bytes - self._transport.get_write_buffer_size() - self._bytes_in_kernel()

    def unsent_bytes(self) -> int:
        """The written bytes that are still in this process."""
        return len(self._held) + self._transport.get_write_buffer_size()

    def _bytes_in_kernel(self) -> int:
        connection = self._transport.get_extra_info("socket")
        try:
            (count,) = COUNT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, COUNT.pack(0)))
        except (OSError, ValueError):  # there is no such socket, or it is closed
            return 0
        return int(count)

    def _send(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            if not self.is_closing():  # uvloop raises if the client has hung up
                self._written_bytes += len(held)
                self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _yes() -> bool:
    return True
