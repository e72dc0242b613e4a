"""Remembers how the last tasks ended, in case that the database loses them.

A promoted standby may lack the last commits if replication was asynchronous. A task that was accepted and ended in them
is in no place then. Redis has its result, but not its data any more. The worker that ran it still knows both.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import structlog

from everpost.store import Store
from everpost_workers.attempts.adoption import task_id_of
from everpost_workers.attempts.attempt import EndedTask
from everpost_workers.ends.recorder import EndRecorder

log = structlog.get_logger("everpost.worker")

MOST = 2_000  # a standby is mostly less than a second behind
MOST_BYTES = 4 << 20  # of messages
CHUNK = 100


class RecentEnds:
    """The outcomes of this worker's last tasks."""

    def __init__(self, store: Store, recorder: EndRecorder) -> None:
        self._store = store
        self._recorder = recorder
        self._outcomes: deque[EndedTask] = deque()
        self._bytes = 0
        self._has_looked = False

    def note(self, outcomes: Sequence[EndedTask]) -> None:
        """Remember outcomes that were recorded."""
        self._outcomes.extend(outcomes)
        self._bytes += sum(map(_size_of, outcomes))
        while len(self._outcomes) > MOST or self._bytes > MOST_BYTES:
            self._bytes -= _size_of(self._outcomes.popleft())

    async def record_lost(self) -> None:
        """Once after another server was found that may lack commits, record again what no place has.

        Raises:
            ServiceError: The database does not take it now.
        """
        may_lack_commits = self._store.care.state().may_lack_commits
        if may_lack_commits and not self._has_looked:
            tasks = sum([await self._record(outcomes) for outcomes in self._chunks()])
            log.warning("outcomes.recorded_again", tasks=tasks, remembered=len(self._outcomes))
        self._has_looked = may_lack_commits

    def _chunks(self) -> Iterator[list[EndedTask]]:
        outcomes = list(self._outcomes)
        return (outcomes[start : start + CHUNK] for start in range(0, len(outcomes), CHUNK))

    async def _record(self, outcomes: Sequence[EndedTask]) -> int:
        task_ids = [task_id_of(outcome.job_id) for outcome in outcomes]
        found = await self._store.changes.find(task_ids, whole=False)
        lost = {task.task_id for task in found if task.position is None}
        if lost:
            again = [outcome for outcome in outcomes if task_id_of(outcome.job_id) in lost]
            await self._store.ledger.end(*self._recorder.whole_records_of(again))
        return len(lost)


def _size_of(outcome: EndedTask) -> int:
    return len(outcome.claim.payload or b"")
