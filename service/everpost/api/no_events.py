"""Litestar's internal events, which nothing here uses."""

from types import TracebackType
from typing import Any, Self

from litestar.events import BaseEventEmitterBackend


class NoEvents(BaseEventEmitterBackend):
    """Emits nothing. Litestar's own emitter makes the lifespan end in the task it began in, which fixtures do not."""

    def emit(self, event_id: str, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        return None
