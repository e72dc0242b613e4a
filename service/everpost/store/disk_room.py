"""The free space the database's disk must have for new tasks; the reserve is for the outcomes of accepted tasks."""

import os
import time
from pathlib import Path

from everpost.errors import DiskFull

REFRESH_S = 0.1


class DiskRoom:
    """The free space on the disk of one folder, checked at most `REFRESH_S` ago.

    Args:
        least_bytes: What must be free; 0 is no limit.
    """

    def __init__(self, folder: Path, least_bytes: int) -> None:
        self._folder = folder
        self._least_bytes = least_bytes
        self._free_bytes = 0
        self._look_at = 0.0

    def check(self) -> None:
        """Check that there is enough.

        Raises:
            DiskFull: There is too little.
        """
        if not self._least_bytes:
            return
        now = time.monotonic()
        if now >= self._look_at:
            disk = os.statvfs(self._folder)
            self._free_bytes, self._look_at = disk.f_bavail * disk.f_frsize, now + REFRESH_S
        if self._free_bytes < self._least_bytes:
            raise DiskFull(self._free_bytes, self._least_bytes)
