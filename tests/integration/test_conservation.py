"""I1 and I5 over random sequences of everything that moves a task, on a real file."""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from everpost.pace import Pace
from everpost.store.archive import Reason
from everpost.store.changes import Remove, Retry, WantedRetry
from everpost.store.sqlite.care.archive import SqliteArchive
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.tasks.changes import SqliteChanges
from everpost.store.sqlite.tasks.ledger import SqliteLedger
from everpost.task.model import Attempt, Task, TaskRecord, TaskStatus, new_task_id
from everpost.task.place import Place, Position
from everpost.task.removal_rules import decide_removal
from everpost.task.retry_rules import RetryDecision, decide_retry

PLACES = """
SELECT task_id AS id, 'task_queue' AS place FROM task_queue
UNION ALL SELECT job_id, 'publish_tasks' FROM publish_tasks
UNION ALL SELECT job_id, 'publish_tasks_archive' FROM publish_tasks_archive
"""
COUNTS = "SELECT source, status, platform, tasks FROM task_counts WHERE tasks <> 0"
TRUE_COUNTS = """
SELECT 'task_queue', status, ifnull(platform, ''), count(*) FROM task_queue GROUP BY 2, 3
UNION ALL SELECT 'publish_tasks', status, ifnull(platform, ''), count(*) FROM publish_tasks GROUP BY 2, 3
"""
pick = st.integers(0, 1_000)


async def together(*work: Any) -> list[Any]:
    """Everything at once, as many clients would."""
    return await asyncio.gather(*work)


class Conservation(RuleBasedStateMachine):
    """Accepts, completes, defers, cancels, retries, deletes and archives in any order, alone and at once."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="everpost-test-"))
        self.now_ms = 1_790_000_000_000
        self.accepted: list[str] = []

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def open(self) -> None:
        self.database = self.run(Database.open(self.folder / "everpost.db", readers=1))
        self.ledger = SqliteLedger(self.database)
        self.changes = SqliteChanges(self.database)
        self.archive = SqliteArchive(self.database, lambda: self.now_ms)

    def teardown(self) -> None:
        self.run(self.database.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    def some_id(self, number: int) -> str:
        return self.accepted[number % len(self.accepted)]

    def new_task(self) -> Task:
        self.now_ms += 1
        return Task(
            task_id=new_task_id(self.now_ms), task_data=b'{"platform":1}', platform="douyin", account_id="a",
            created_at_ms=self.now_ms, accepted_by="test",
        )  # fmt: skip

    def record(self, task_id: str, status: TaskStatus) -> TaskRecord:
        attempt = Attempt(number=1, started_at="s", finished_at="f", outcome=status)
        return TaskRecord(
            task_id=task_id, status=status, finished_at_ms=self.now_ms, attempt=attempt, task_data=b'{"platform":1}'
        )

    @rule(count=st.integers(1, 5))
    def accept(self, count: int) -> None:
        tasks = [self.new_task() for _ in range(count)]
        self.run(together(*(self.ledger.accept([task], self.now_ms) for task in tasks)))
        self.accepted += [task.task_id for task in tasks]

    @precondition(lambda self: self.accepted)
    @rule(
        numbers=st.lists(pick, min_size=1, max_size=4),
        status=st.sampled_from(["success", "failed", "unknown", "cancelled"]),
    )
    def complete(self, numbers: Sequence[int], status: str) -> None:
        """Also of tasks that have ended: a late result, or one delivered twice."""
        records = [self.record(self.some_id(number), TaskStatus(status)) for number in numbers]
        self.run(together(*(self.ledger.end([record]) for record in records)))

    @precondition(lambda self: self.accepted)
    @rule(number=pick)
    def defer(self, number: int) -> None:
        attempt = Attempt(number=1, started_at="s", finished_at="f", outcome=TaskStatus.RETRY)
        self.run(self.ledger.defer(self.some_id(number), attempt, self.now_ms + 1, spent=True))

    @precondition(lambda self: self.accepted)
    @rule(number=pick)
    def begin_send(self, number: int) -> None:
        self.run(self.ledger.begin_send(self.some_id(number), 1, self.now_ms))

    @precondition(lambda self: self.accepted)
    @rule(number=pick, force=st.booleans(), callers=st.integers(1, 5))
    def retry(self, number: int, force: bool, callers: int) -> None:
        task_id = self.some_id(number)
        stand_in = Position(task_id=task_id, place=Place.HISTORY, status="failed", chain_id=task_id)

        def decide(position: Position, relatives: Sequence[Position]) -> RetryDecision:
            return decide_retry(position, relatives, force=force, withdrawn=True)

        tasks = [self.new_task() for _ in range(callers)]
        retries = [Retry([WantedRetry(stand_in, task)], decide) for task in tasks]
        outcomes = self.run(together(*(self.changes.apply(retry, self.now_ms) for retry in retries)))
        made = [outcome.new_task.task_id for (outcome,) in outcomes if outcome.new_task is not None]
        assert len(made) <= 1
        self.accepted += made

    @precondition(lambda self: self.accepted)
    @rule(numbers=st.lists(pick, min_size=1, max_size=4))
    def delete(self, numbers: Sequence[int]) -> None:
        task_ids = [self.some_id(number) for number in numbers]
        self.run(self.changes.apply(Remove(task_ids, Reason.DELETED, decide_removal), self.now_ms))

    @rule()
    def archive_old(self) -> None:
        self.run(anext(self.archive.archive_older(self.now_ms, Pace(3)), 0))

    @invariant()
    def every_accepted_task_is_in_exactly_one_table(self) -> None:
        rows = self.run(self.database.read(lambda connection: connection.execute(PLACES).fetchall()))
        assert sorted(row[0] for row in rows) == sorted(self.accepted)

    @invariant()
    def no_retry_chain_has_two_unfinished_tasks(self) -> None:
        statement = "SELECT ifnull(root_id, task_id), count(*) FROM task_queue GROUP BY 1 HAVING count(*) > 1"
        assert self.run(self.database.read(lambda connection: connection.execute(statement).fetchall())) == []

    @invariant()
    def the_counts_are_true(self) -> None:
        counts = self.run(self.database.read(lambda connection: connection.execute(COUNTS).fetchall()))
        truth = self.run(self.database.read(lambda connection: connection.execute(TRUE_COUNTS).fetchall()))
        assert sorted(counts) == sorted(truth)


TestConservation = Conservation.TestCase
TestConservation.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
