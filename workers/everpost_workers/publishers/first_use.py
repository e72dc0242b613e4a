"""What a publisher opens at its first use. Most workers send nothing to most platforms, and load nothing for them."""

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """Has connections."""

    async def close(self) -> None:
        """Close all connections."""


Opened = TypeVar("Opened", bound=Closable)


class FirstUse(Generic[Opened]):
    """Makes one object, when it is first asked for.

    Args:
        make: Makes it, in a thread: it imports libraries, and reads certificates.

    Attributes:
        opened: The object; None before its first use.
    """

    def __init__(self, make: Callable[[], Opened]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self.opened: Opened | None = None

    async def get(self) -> Opened:
        """The object."""
        async with self._making:
            if self.opened is None:
                self.opened = await asyncio.to_thread(self._make)
            return self.opened

    async def close(self) -> None:
        """Close it, if it was used."""
        if self.opened is not None:
            await self.opened.close()
            self.opened = None
