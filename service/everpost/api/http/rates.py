"""Refuses requests of keys that come faster than the key's rate."""

import math
from collections import OrderedDict
from time import monotonic

from everpost.access import Caller, KeyRate
from everpost.api.services import ApiRequest, services_of
from everpost.errors import QueueUnreachable, RateLimited

MOST_KNOWN = 10_000


class OwnRates:
    """The same count as in Redis, of this process's requests only, for as long as Redis is away."""

    def __init__(self) -> None:
        self._full_s: OrderedDict[str, float] = OrderedDict()

    def take(self, key_id: str, rate: KeyRate, now_s: float) -> float:
        """Count one request and return 0; or, if it comes too early, return the seconds to wait and count nothing."""
        after_s = max(self._full_s.get(key_id, 0.0), now_s) + rate.per_s / rate.count
        if (wait_s := after_s - now_s - rate.per_s) > 0:
            return wait_s
        self._full_s[key_id] = after_s
        self._full_s.move_to_end(key_id)
        if len(self._full_s) > MOST_KNOWN:
            self._full_s.popitem(last=False)
        return 0.0


async def take_turn(request: ApiRequest, caller: Caller, own: OwnRates) -> None:
    """Return if a caller with a rate may make one more request.

    Raises:
        RateLimited: It has made too many; the error says when to come again.
    """
    assert caller.rate is not None, "only callers with a rate are counted"
    key_id = caller.key_id or caller.name
    try:
        wait_s = await services_of(request).queue.key_rates.take(key_id, caller.rate)
    except QueueUnreachable:
        wait_s = own.take(key_id, caller.rate, monotonic())
    if wait_s > 0:
        raise RateLimited(caller.name, math.ceil(wait_s))
