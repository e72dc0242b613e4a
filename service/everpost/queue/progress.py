"""How far running attempts have come, as their workers say in Redis."""

from collections.abc import Mapping

import msgspec

from everpost.clock import to_text
from everpost.queue.keys import PROGRESS
from everpost.queue.redis_server import RedisServer

KEPT_S = 60  # after a worker has said it last
LONGEST_BYTES = 256


class Progress(msgspec.Struct, frozen=True):
    """How far a running attempt has come, in the publisher's own unit, such as bytes.

    Attributes:
        total: None if the publisher does not know it.
        at: When the publisher said so.
    """

    done: float
    total: float | None = None
    at: str = ""


class ProgressNotes:
    """The notes of all workers; each disappears by itself. Every method may raise `QueueUnreachable`."""

    def __init__(self, server: RedisServer) -> None:
        self._redis = server.redis
        self._ask = server.ask
        self._note = server.script("note_progress", "telling")

    async def note(self, notes: Mapping[str, tuple[Progress, int] | None]) -> None:
        """Write the progress of tasks, each with its time in ms; None removes a note. It is one command."""
        texts = [b"" if note is None else _encoded(*note) for note in notes.values()]
        keys = [PROGRESS + task_id for task_id in notes]
        await self._ask(self._note(keys=keys, args=[KEPT_S, len(PROGRESS), *texts]))

    async def of_task(self, task_id: str) -> Progress | None:
        """The progress of a running task; None if its publisher says nothing."""
        text = await self._ask(self._redis.getrange(PROGRESS + task_id, 0, LONGEST_BYTES))
        try:
            return msgspec.json.decode(text, type=Progress) if text else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # another program wrote it
            return None


def _encoded(progress: Progress, at_ms: int) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(progress, at=to_text(at_ms)))
