"""Limits how many exports run at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from everpost.errors import Unavailable

MOST = 8  # each has a step in memory while its client reads


class ExportSlots:
    """Limits how many exports run in a process."""

    def __init__(self) -> None:
        self._taken = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Run an export.

        Raises:
            Unavailable: Too many run.
        """
        if self._taken >= MOST:
            raise Unavailable(f"{MOST} exports are running already.", retry_after_s=10)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
