from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.task.attempt_rules import (
    BACKOFF_CAP_S,
    MOST_LOST_ATTEMPTS,
    RATE_LIMIT_CAP_S,
    RATE_LIMIT_WAIT_S,
    CellKind,
    Ended,
    NextAttempt,
    RateLimits,
    cell_for,
    decide_attempt,
    kills_its_workers,
)
from everpost.task.model import ErrorClass, TaskStatus


def longest(_: float, most: float) -> float:
    return most


def least(least_s: float, _: float) -> float:
    return least_s


def decide(
    error_class: ErrorClass, *, spent: int = 0, may_rerun: bool = False, retry_after_s: float | None = None,
    jitter: Callable[[float, float], float] = longest,
) -> NextAttempt | Ended:  # fmt: skip
    return decide_attempt(
        error_class, may_rerun=may_rerun, spent=spent, max_attempts=3, retry_after_s=retry_after_s, jitter=jitter
    )


def test_a_transient_error_is_tried_again_with_growing_delays_while_attempts_last() -> None:
    assert decide(ErrorClass.TRANSIENT, spent=0) == NextAttempt(2, spends=True)
    assert decide(ErrorClass.TRANSIENT, spent=1) == NextAttempt(4, spends=True)
    assert decide(ErrorClass.TRANSIENT, spent=2) == Ended(TaskStatus.FAILED)


def test_waiting_for_a_rate_limit_spends_no_attempt() -> None:
    assert decide(ErrorClass.RATE_LIMITED, spent=2, retry_after_s=7, jitter=least) == NextAttempt(7, spends=False)
    assert decide(ErrorClass.RATE_LIMITED, spent=2, retry_after_s=7) == NextAttempt(7.7, spends=False)
    assert decide(ErrorClass.RATE_LIMITED, jitter=least) == NextAttempt(RATE_LIMIT_WAIT_S, spends=False)


@pytest.mark.parametrize(("count", "pause_s"), [(0, 1), (1, 2), (5, 32), (10, 600), (1_000_000, 600)])
def test_pauses_for_rate_limits_grow_from_a_second_to_ten_minutes(count: int, pause_s: float) -> None:
    decision = decide_attempt(
        ErrorClass.RATE_LIMITED,
        may_rerun=False,
        spent=0,
        max_attempts=3,
        retry_after_s=0.01,
        limits=RateLimits(count),
        jitter=least,
    )
    assert decision == NextAttempt(pause_s, spends=False)


@given(st.floats(0.001, 1e6), st.floats(1, 1e6))
def test_rate_limits_end_at_their_deadline_after_few_attempts(asked_s: float, deadline_s: float) -> None:
    limits, pauses = RateLimits(), []
    while True:
        decision = decide_attempt(
            ErrorClass.RATE_LIMITED,
            may_rerun=False,
            spent=0,
            max_attempts=3,
            retry_after_s=asked_s,
            limits=limits,
            rate_limit_deadline_s=deadline_s,
        )
        if isinstance(decision, Ended):
            break
        pauses.append(decision.delay_s)
        limits = RateLimits(limits.count + 1, limits.paused_s + decision.delay_s)
    assert decision == Ended(TaskStatus.FAILED)
    assert deadline_s <= limits.paused_s <= deadline_s + 1
    assert len(pauses) <= 12 + deadline_s / RATE_LIMIT_CAP_S
    assert min(pauses) >= 1


@pytest.mark.parametrize("error_class", [ErrorClass.AUTH, ErrorClass.INVALID, ErrorClass.PERMANENT])
def test_a_definite_no_ends_at_once(error_class: ErrorClass) -> None:
    assert decide(error_class) == Ended(TaskStatus.FAILED)


def test_an_unknown_outcome_ends_as_unknown_unless_a_rerun_does_no_harm() -> None:
    assert decide(ErrorClass.UNKNOWN) == Ended(TaskStatus.UNKNOWN)
    assert decide(ErrorClass.UNKNOWN, may_rerun=True) == NextAttempt(2, spends=True)
    assert decide(ErrorClass.UNKNOWN, may_rerun=True, spent=2) == Ended(TaskStatus.UNKNOWN)


def test_a_post_that_a_person_makes_waits_for_that_person_whatever_may_rerun() -> None:
    assert decide(ErrorClass.MANUAL) == decide(ErrorClass.MANUAL, may_rerun=True) == Ended(TaskStatus.UNKNOWN)


def test_a_platform_that_asks_for_patience_gets_it() -> None:
    assert decide(ErrorClass.TRANSIENT, retry_after_s=30) == NextAttempt(30, spends=True)


@given(st.integers(0, 98))
def test_a_backoff_is_never_longer_than_its_cap(spent: int) -> None:
    decision = decide_attempt(ErrorClass.TRANSIENT, may_rerun=False, spent=spent, max_attempts=100, jitter=longest)
    assert isinstance(decision, NextAttempt)
    assert 0 < decision.delay_s <= BACKOFF_CAP_S


@given(st.sampled_from(ErrorClass), st.booleans(), st.integers(0, 5))
def test_an_unknown_outcome_never_reads_as_failed(error_class: ErrorClass, may_rerun: bool, spent: int) -> None:
    decision = decide(error_class, may_rerun=may_rerun, spent=spent)
    if error_class is ErrorClass.UNKNOWN:
        assert decision != Ended(TaskStatus.FAILED)


@pytest.mark.parametrize(
    ("asked_s", "delay_s"), [(float("inf"), 86_400), (1e15, 86_400), (float("nan"), 60), (-5, 60), (0, 60), (None, 60)]
)
def test_a_platforms_wait_is_followed_within_limits(asked_s: float | None, delay_s: float) -> None:
    assert decide(ErrorClass.RATE_LIMITED, retry_after_s=asked_s, jitter=least) == NextAttempt(delay_s, spends=False)
    assert isinstance(decide(ErrorClass.TRANSIENT, retry_after_s=asked_s), NextAttempt)


def test_each_death_of_a_process_lets_a_task_run_beside_fewer_others() -> None:
    assert [cell_for(deaths) for deaths in range(4)] == [CellKind.NONE, CellKind.SHARED, CellKind.OWN, CellKind.OWN]


@pytest.mark.parametrize(
    ("deaths", "died_alone", "can_run_alone", "is_killer"),
    [
        (2, True, True, False),
        (3, True, True, True),
        (3, False, True, False),
        (MOST_LOST_ATTEMPTS - 1, False, True, False),
        (MOST_LOST_ATTEMPTS, False, True, True),
        (2, False, False, False),
        (3, False, False, True),
    ],
)
def test_a_task_is_given_up_on_once_it_died_alone_or_where_that_cannot_be_found_out(
    deaths: int, *, died_alone: bool, can_run_alone: bool, is_killer: bool
) -> None:
    assert kills_its_workers(deaths, died_alone=died_alone, can_run_alone=can_run_alone) is is_killer
