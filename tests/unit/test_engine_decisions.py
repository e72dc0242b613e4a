"""The engine's rules without a server: the step after an attempt, the order of queues, the waits."""

import asyncio
import inspect
from collections import Counter

import msgspec
import pytest
from arq.worker import Retry, RetryJob, Worker
from hypothesis import given
from hypothesis import strategies as st

from everpost_workers.engine import BatchWorker, CancelCause
from everpost_workers.engine.backoff import Backoff
from everpost_workers.engine.outcomes import NextStep, next_step
from everpost_workers.engine.turns import QueueTurns

CANCELLED = asyncio.CancelledError()


@pytest.mark.parametrize(
    ("error", "cause", "may_retry", "step"),
    [
        (Retry(1), None, True, NextStep.RETRY),
        (Retry(1), CancelCause.SHUTDOWN, True, NextStep.RETRY),
        (Retry(1), None, False, NextStep.FAIL),
        (RetryJob(), None, True, NextStep.RERUN),
        (RetryJob(), None, False, NextStep.FAIL),
        (CANCELLED, None, True, NextStep.RERUN),
        (CANCELLED, None, False, NextStep.FAIL),
        (CANCELLED, CancelCause.SHUTDOWN, True, NextStep.HAND_BACK),
        (CANCELLED, CancelCause.SHUTDOWN, False, NextStep.FAIL),
        (CANCELLED, CancelCause.ABORT, True, NextStep.ABORT),
        (CANCELLED, CancelCause.ABORT, False, NextStep.ABORT),
        (CANCELLED, CancelCause.TIMEOUT, True, NextStep.TIME_OUT),
        (OSError(), CancelCause.TIMEOUT, True, NextStep.TIME_OUT),
        (OSError(), CancelCause.ABORT, True, NextStep.FAIL),
        (OSError(), None, True, NextStep.FAIL),
    ],
)
def test_each_error_of_an_attempt_has_its_consequence(
    error: BaseException, cause: CancelCause | None, *, may_retry: bool, step: NextStep
) -> None:
    assert next_step(error, cause, may_retry=may_retry) is step


def plan(turns: QueueTurns, limit: int) -> list[tuple[int, list[int]]]:
    return [(slots, order) for slots, order in msgspec.json.decode(turns.passes(limit))]


@given(queue_count=st.integers(1, 10), limit=st.integers(1, 1000))
def test_a_claims_passes_offer_exactly_its_slots_and_most_of_them_in_order(queue_count: int, limit: int) -> None:
    passes = plan(QueueTurns(queue_count), limit)
    assert sum(slots for slots, _ in passes) == limit
    in_order = list(range(1, queue_count + 1))
    assert passes[0][1] == in_order or limit == 1
    assert sum(slots for slots, order in passes if order != in_order) <= max(1, limit // 10)
    assert all(sorted(order) == in_order for _, order in passes)


def test_every_less_urgent_queue_gets_its_turn_at_the_reserved_share() -> None:
    turns = QueueTurns(4)
    first = Counter(plan(turns, 50)[1][1][0] for _ in range(30))
    assert first == {4: 10, 3: 10, 2: 10}


def test_one_slot_is_reserved_every_tenth_time() -> None:
    turns = QueueTurns(2)
    orders = [plan(turns, 1)[0][1] for _ in range(20)]
    assert [number for number, order in enumerate(orders) if order == [2, 1]] == [9, 19]


def test_a_backoff_doubles_up_to_its_limit_and_begins_again() -> None:
    backoff = Backoff(0.1, 5.0)
    waits = [backoff.next_s() for _ in range(8)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    backoff.reset()
    assert backoff.next_s() == pytest.approx(0.1)


def test_the_worker_takes_every_parameter_of_arqs() -> None:
    ours = inspect.signature(BatchWorker).parameters
    assert ours.keys() > inspect.signature(Worker).parameters.keys()
    assert {"queue_names", "lease", "on_claim", "on_complete", "wake_channel"} <= ours.keys()
