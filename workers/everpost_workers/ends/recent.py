"""Remembers how the last tasks ended, in case that the database loses them.

A promoted standby may lack the last commits if replication was asynchronous. A task that was accepted and ended in them
is in no place then. Redis has its result, but not its data any more. The worker that ran it still knows both.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import msgspec
import structlog

from everpost.queue.event_teller import EventTeller, Told
from everpost.store import Store
from everpost.task.model import TaskRecord

log = structlog.get_logger("everpost.worker")

MOST = 2_000  # a standby is mostly less than a second behind
MOST_BYTES = 4 << 20
CHUNK = 100

_encode = msgspec.json.Encoder().encode  # as the database's statement does: what that took does not fail here
_decode = msgspec.json.Decoder(TaskRecord).decode


class RecentEnds:
    """The records of this worker's last tasks, with their data. They are encoded: as objects, they take 50 KB each."""

    def __init__(self, store: Store, events: EventTeller) -> None:
        self._store = store
        self._events = events
        self._records: deque[bytes] = deque()
        self._bytes = 0
        self._has_looked = False

    def note(self, records: Sequence[TaskRecord]) -> None:
        """Remember records that the database has taken."""
        encoded = [_encode(record) for record in records]
        self._records.extend(encoded)
        self._bytes += sum(map(len, encoded))
        while len(self._records) > MOST or self._bytes > MOST_BYTES:
            self._bytes -= len(self._records.popleft())

    async def record_lost(self) -> None:
        """Once after another server was found that may lack commits, record again what no place has.

        Raises:
            ServiceError: The database does not take it now.
        """
        may_lack_commits = self._store.care.state().may_lack_commits
        if may_lack_commits and not self._has_looked:
            tasks = sum([await self._record(records) for records in self._chunks()])
            log.warning("outcomes.recorded_again", tasks=tasks, remembered=len(self._records))
        self._has_looked = may_lack_commits

    def _chunks(self) -> Iterator[list[TaskRecord]]:
        encoded = list(self._records)
        for start in range(0, len(encoded), CHUNK):
            yield [_decode(record) for record in encoded[start : start + CHUNK]]

    async def _record(self, records: Sequence[TaskRecord]) -> int:
        found = await self._store.changes.find([record.task_id for record in records], whole=False)
        lost = {task.task_id for task in found if task.position is None}
        async with self._events.telling(Told.ENDED, sorted(lost)) as ended:
            await self._store.ledger.end([record for record in records if record.task_id in lost])
            ended.extend(sorted(lost))
        return len(lost)
