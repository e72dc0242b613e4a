"""The rates of API keys, which all API processes share in Redis."""

from everpost.access import KeyRate
from everpost.queue.keys import KEY_RATE
from everpost.queue.redis_server import RedisServer


class KeyRates:
    """Counts the requests of keys that have a rate. A count disappears by itself once it is zero."""

    def __init__(self, server: RedisServer) -> None:
        self._ask = server.ask
        self._take = server.script("take_turn")

    async def take(self, key_id: str, rate: KeyRate) -> float:
        """Count one request and return 0; or, if it comes too early, return the seconds to wait and count nothing.

        Raises:
            QueueUnreachable: Redis does not answer.
        """
        span_ms = round(rate.per_s * 1000, 3)
        wait_ms: float = await self._ask(self._take(keys=[KEY_RATE + key_id], args=[rate.count, span_ms]))
        return wait_ms / 1000
