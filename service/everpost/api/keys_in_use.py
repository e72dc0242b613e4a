"""The Idempotency-Keys of requests that are being served; see `service/everpost/api/idempotency.py`."""

from collections.abc import Iterator
from contextlib import contextmanager

from everpost.errors import KeyInUse, KeyReused
from everpost.store.ledger import IdempotencyKey


class KeysInUse:
    """The keys of the requests that this process is serving.

    Other processes need not know them: if two processes write the same key, the second finds the first one's answer.
    """

    def __init__(self) -> None:
        self._fingerprints: dict[str, str] = {}

    @contextmanager
    def using(self, key: IdempotencyKey) -> Iterator[None]:
        """Serve a request with that key.

        Raises:
            KeyInUse: The same request is being served.
            KeyReused: Another request with that key is being served.
        """
        fingerprint = self._fingerprints.get(key.key)
        if fingerprint is None and key.nameless is not None and self._fingerprints.get(key.nameless) == key.fingerprint:
            raise KeyInUse
        if fingerprint is not None:
            raise KeyInUse if fingerprint == key.fingerprint else KeyReused
        self._fingerprints[key.key] = key.fingerprint
        try:
            yield
        finally:
            del self._fingerprints[key.key]
