"""Digests that are made while uploads arrive, over any number of requests to one process."""

import hashlib
from collections import OrderedDict
from typing import Any

MOST_DIGESTS = 64  # the digests of other uploads are made from the disk at the end


class Digests:
    """The digest of each upload as far as it has come."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    def take(self, file_id: str, size_bytes: int) -> Any:
        """The digest of the first `size_bytes`, to be continued; None if it was not made in this process."""
        known_bytes, sha256 = self._kept.pop(file_id, (0, None))
        if size_bytes == 0:
            return hashlib.sha256()
        return sha256 if known_bytes == size_bytes else None

    def keep(self, file_id: str, size_bytes: int, sha256: Any) -> None:
        """Keep a digest for the next request."""
        self._kept[file_id] = (size_bytes, sha256)
        if len(self._kept) > MOST_DIGESTS:
            self._kept.popitem(last=False)

    def forget(self, file_id: str) -> None:
        """Forget the digest of an upload."""
        self._kept.pop(file_id, None)
