"""Replaces Litestar's internal events, which Everpost does not use."""

from types import TracebackType
from typing import Any, Self

from litestar.events import BaseEventEmitterBackend


class NoEvents(BaseEventEmitterBackend):
    """Emits nothing. With Litestar's, a lifespan must end in the task it began in, which fixtures do not do."""

    def emit(self, event_id: str, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        return None
