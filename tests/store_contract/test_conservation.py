"""I1 and I5 over random sequences of all that moves a task: after each step every task is in exactly one place."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from everpost.clock import to_text
from everpost.pace import Pace
from everpost.store import open_store
from everpost.store.archive import Reason
from everpost.store.archiving import archive_older
from everpost.store.changes import Cancel, Remove, Resolve
from everpost.task.cancel_rules import decide_cancel
from everpost.task.model import HELD, Task, TaskStatus, new_task_id
from everpost.task.place import Place
from everpost.task.removal_rules import decide_removal
from everpost.task.resolution_rules import Decided, DecisionKind, decide_resolution
from everpost.task.retry_rules import decide_retry
from store_contract.making import attempt_of, record_of
from store_kit import kit_of
from store_rows import START_MS, make_task, retry_as
from stores import ADDRESSES, empty_store

pick = st.integers(0, 1_000)
picks = st.lists(pick, min_size=1, max_size=4)
ENDS = [TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.UNKNOWN, TaskStatus.CANCELLED]


class StepsOf(Pace):
    """Steps of one size, without a rest."""

    @asynccontextmanager
    async def step(self) -> AsyncIterator[int]:
        yield self.size


class Conservation(RuleBasedStateMachine):
    """Everything that moves a task, in any order, by two processes, alone and at once."""

    kind: str

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.cleanup = ExitStack()
        self.now_ms = START_MS
        self.accepted: list[str] = []

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def together(self, *work: Any) -> list[Any]:
        async def gathered() -> list[Any]:
            return await asyncio.gather(*work)

        answers: list[Any] = self.run(gathered())
        return answers

    @initialize()
    def open(self) -> None:
        folder = Path(self.cleanup.enter_context(TemporaryDirectory()))
        address = self.cleanup.enter_context(empty_store(self.kind, folder))
        self.stores = [self.run(open_store(address)) for _ in range(2)]
        self.kit = kit_of(address)

    def teardown(self) -> None:
        for store in self.stores:
            self.run(store.close())
        self.loop.close()
        self.cleanup.close()

    def store(self, number: int) -> Any:
        return self.stores[number % 2]

    def some_id(self, number: int) -> str:
        return self.accepted[number % len(self.accepted)]

    def new_task(self, **fields: Any) -> Task:
        self.now_ms += 1
        return make_task(new_task_id(self.now_ms), created_at_ms=self.now_ms, **fields)

    @rule(count=st.integers(1, 5), due_in_ms=st.sampled_from([None, 3]))
    def accept(self, count: int, due_in_ms: int | None) -> None:
        due_at_ms = None if due_in_ms is None else self.now_ms + due_in_ms
        tasks = [self.new_task(due_at_ms=due_at_ms) for _ in range(count)]
        self.together(*(self.store(number).ledger.accept([task], self.now_ms) for number, task in enumerate(tasks)))
        self.accepted += [task.task_id for task in tasks]

    @rule(callers=st.integers(1, 3))
    def adopt(self, callers: int) -> None:
        """Also what was accepted, has ended or was purged meanwhile: a stock client chooses its ids."""
        task = self.new_task()
        self.together(*(self.store(number).ledger.adopt([task], self.now_ms) for number in range(callers)))
        self.accepted.append(task.task_id)

    @precondition(lambda self: self.accepted)
    @rule(numbers=picks)
    def claim(self, numbers: Sequence[int]) -> None:
        ids = {self.some_id(number) for number in numbers}
        found = self.run(self.store(numbers[0]).ledger.check_claims(dict.fromkeys(ids)))
        assert set(found.known) | found.ended == ids
        assert not set(found.known) & found.ended

    @rule(later_ms=st.integers(0, 5))
    def promote(self, later_ms: int) -> None:
        self.now_ms += later_ms
        self.run(self.store(later_ms).ledger.promote_due(self.now_ms))

    @precondition(lambda self: self.accepted)
    @rule(number=pick, attempt=st.integers(1, 3), earlier=st.sampled_from([None, 1, 2]))
    def begin_send(self, number: int, attempt: int, earlier: int | None) -> None:
        self.run(self.store(number).ledger.begin_send(self.some_id(number), attempt, self.now_ms, earlier))

    @precondition(lambda self: self.accepted)
    @rule(number=pick, attempt=st.integers(1, 3))
    def cancel_send(self, number: int, attempt: int) -> None:
        self.run(self.store(number).ledger.cancel_send(self.some_id(number), attempt, self.now_ms))

    @precondition(lambda self: self.accepted)
    @rule(number=pick, attempt=st.integers(1, 3))
    def note_lost_attempt(self, number: int, attempt: int) -> None:
        lost = attempt_of(attempt, TaskStatus.UNKNOWN, started_at="", finished_at=None)
        self.run(self.store(number).ledger.note_lost_attempts([self.some_id(number)], lambda _: [lost]))

    @precondition(lambda self: self.accepted)
    @rule(number=pick, attempt=st.integers(1, 3), spent=st.booleans())
    def defer(self, number: int, attempt: int, spent: bool) -> None:
        ledger = self.store(number).ledger
        self.run(ledger.defer(self.some_id(number), attempt_of(attempt), self.now_ms + 1, spent=spent))

    @precondition(lambda self: self.accepted)
    @rule(numbers=picks, status=st.sampled_from(ENDS), attempt=st.integers(1, 3))
    def end(self, numbers: Sequence[int], status: TaskStatus, attempt: int) -> None:
        """Also of tasks that have ended: a late outcome, or one that is delivered twice."""
        records = [record_of(self.some_id(number), status, attempt) for number in numbers]
        self.together(*(self.store(number).ledger.end([record]) for number, record in enumerate(records)))

    @precondition(lambda self: self.accepted)
    @rule(numbers=picks, force=st.booleans(), callers=st.integers(1, 4))
    def retry(self, numbers: Sequence[int], force: bool, callers: int) -> None:
        ids = [self.some_id(number) for number in numbers]
        changes = []
        for _ in range(callers):
            new_tasks = {task_id: self.new_task() for task_id in ids}
            change = retry_as(new_tasks, partial(decide_retry, force=force, withdrawn=True))
            changes.append(msgspec.structs.replace(change, task_ids=ids))
        answers = self.together(
            *(self.store(number).changes.apply(change, self.now_ms) for number, change in enumerate(changes))
        )
        made = [outcome.new_task for outcomes in answers for outcome in outcomes if outcome.new_task]
        assert not [chain for chain, count in Counter(task.chain_id for task in made).items() if count > 1]
        self.accepted += [task.task_id for task in made]

    @precondition(lambda self: self.accepted)
    @rule(numbers=picks)
    def cancel(self, numbers: Sequence[int]) -> None:
        change = Cancel(
            task_ids=[self.some_id(number) for number in numbers], rule=partial(decide_cancel, withdrawn=True)
        )
        self.run(self.store(numbers[0]).changes.apply(change, self.now_ms))

    @precondition(lambda self: self.accepted)
    @rule(numbers=picks)
    def remove(self, numbers: Sequence[int]) -> None:
        ids = [self.some_id(number) for number in numbers]
        change = Remove(task_ids=ids, reason=Reason.DELETED, rule=decide_removal)
        self.run(self.store(numbers[0]).changes.apply(change, self.now_ms))

    @precondition(lambda self: self.accepted)
    @rule(number=pick)
    def resolve(self, number: int) -> None:
        decided = Decided(
            task_id=self.some_id(number),
            decision=DecisionKind.SUCCEEDED,
            status_before="unknown",
            decided_at=to_text(self.now_ms),
        )
        change = Resolve(decided=[decided], rule=decide_resolution)
        self.run(self.store(number).changes.apply(change, self.now_ms))

    @precondition(lambda self: self.accepted)
    @rule(number=pick, ends=st.booleans())
    def hold_and_let_go(self, number: int, ends: bool) -> None:
        """As after a restore."""
        task_id = self.some_id(number)
        if any(task.place is Place.LEDGER for task in self.kit.tasks() if task.task_id == task_id):
            self.kit.change(Place.LEDGER, task_id, sending=HELD)
        ended = [record_of(task_id, TaskStatus.UNKNOWN)] if ends else []
        self.run(self.store(number).held.let_go(ended, [] if ends else [task_id]))

    @rule(size=st.integers(1, 4), are_two=st.booleans())
    def archive_old(self, size: int, are_two: bool) -> None:
        self.together(
            *(
                _all(archive_older(store, self.now_ms, StepsOf(size), lambda: self.now_ms))
                for store in self.stores[: 1 + are_two]
            )
        )

    @rule(size=st.integers(1, 4), are_two=st.booleans())
    def purge(self, size: int, are_two: bool) -> None:
        before = {task.task_id for task in self.kit.tasks() if task.place is Place.ARCHIVE}
        self.together(
            *(_all(store.archive.purge(self.now_ms - 20, StepsOf(size))) for store in self.stores[: 1 + are_two])
        )
        after = {task.task_id for task in self.kit.tasks()}
        self.accepted = [task_id for task_id in self.accepted if task_id in after or task_id not in before]

    @invariant()
    def every_accepted_task_is_in_exactly_one_place(self) -> None:
        assert sorted(task.task_id for task in self.kit.tasks()) == sorted(self.accepted)

    @invariant()
    def no_retry_chain_has_two_unfinished_tasks(self) -> None:
        assert self.kit.find_chains_twice_alive() == []

    @invariant()
    def what_the_store_counts_is_true(self) -> None:
        tasks = [task for task in self.kit.tasks() if task.place is not Place.ARCHIVE]
        assert self.kit.counted() == Counter(task.place for task in tasks)
        assert self.run(self.stores[0].history.summary()).by_status == Counter(task.status for task in tasks)
        unfinished = sum(task.place is Place.LEDGER for task in tasks)
        assert self.run(self.stores[1].ledger.count_unfinished()) == unfinished


async def _all(steps: AsyncIterator[int]) -> int:
    return sum([count async for count in steps])


@pytest.mark.parametrize("kind", ADDRESSES)
@pytest.mark.parametrize(
    ("examples", "steps"),
    [pytest.param(20, 30, id="short"), pytest.param(150, 60, id="long", marks=pytest.mark.chaos)],
)
def test_every_task_is_in_exactly_one_place_after_each_step(kind: str, examples: int, steps: int) -> None:
    machine = type("ConservationOf" + kind, (Conservation,), {"kind": kind})
    chosen = settings(
        max_examples=examples if kind == "sqlite" else examples // 5,  # a step takes much longer where a server runs
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)
