"""What the server offers to an answer that is written piece by piece, whenever something happens."""

from collections.abc import Callable
from typing import Protocol

CONNECTION = "connection"  # in the state of a request's scope: its `PushedAnswer`


class PushedAnswer(Protocol):
    """A connection. Its answer's head is sent as for any other answer; then data is pushed without waiting.

    So thousands of streams need no asyncio task that waits for each write.
    """

    def begin_stream(self, on_lost: Callable[[], None]) -> bool:
        """Count the connection as a stream; False if there are too many. `on_lost` is called when it is closed."""

    def end_stream(self) -> None:
        """Count it as a stream no longer."""

    def push(self, chunk: bytes) -> None:
        """Send a chunk (RFC 9112, 7.1); what the client does not read waits in memory. A closed connection drops it."""

    def unsent_bytes(self) -> int:
        """How much waits in this process; 0 if the connection is closed."""

    def hang_up(self) -> None:
        """Close at once; what waits is lost."""
