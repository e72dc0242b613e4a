"""Which PostgreSQL was promoted last, as far as the processes on this Redis know."""

from everpost.queue.keys import TIMELINE
from everpost.queue.redis_server import RedisServer

KEPT_S = 600  # after the last process that uses it was seen


class Timelines:
    """The newest timeline of each cluster. It may raise `QueueUnreachable`."""

    def __init__(self, server: RedisServer) -> None:
        self._ask = server.ask
        self._note = server.script("note_timeline")

    async def note(self, cluster: str, timeline: str) -> str:
        """Report the timeline that this process uses; return the newest that any process has reported."""
        newest: bytes = await self._ask(self._note(keys=[f"{TIMELINE}{cluster}"], args=[timeline, KEPT_S]))
        return newest.decode()
