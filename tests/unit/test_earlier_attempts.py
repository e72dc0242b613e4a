"""What the ledger's attempts, Redis's count of claims and an intent say of a task's past."""

from typing import Any

import msgspec
import pytest

from everpost.task.earlier_attempts import (
    MOST_LOST,
    NOTHING_EARLIER,
    OpenAttempt,
    lost_attempts,
    may_save,
    read_earlier,
)
from everpost.task.model import PublisherClass

KEYED, NONE, LOCAL = PublisherClass.KEYED, PublisherClass.NONE, PublisherClass.LOCAL
OPEN = {"phase": "sending", "bytes_sent": "not_known", "last_words": None}
CLOSED = {"phase": "claimed", "bytes_sent": "no", "last_words": None}


def recorded(*attempts: dict[str, Any]) -> str | None:
    return msgspec.json.encode(attempts).decode() if attempts else None


def attempt(number: int, **fields: Any) -> dict[str, Any]:
    return {"number": number, "started_at": f"s{number}", "outcome": "retry", **fields}


@pytest.mark.parametrize(
    ("known", "sending", "job_try", "lost"),
    [
        (recorded(), None, 1, []),
        (recorded(), None, 3, [(1, "crashed"), (2, "crashed")]),
        (recorded(attempt(1)), None, 2, []),
        (recorded(attempt(1)), None, 3, [(2, "crashed")]),
        (recorded(attempt(7)), None, 1, []),  # Redis lost its count
        (recorded(), 1, 1, [(1, "unknown")]),  # Redis lost its count, or the worker was stopped
        (recorded(), 1, 2, [(1, "crashed")]),
        (recorded(attempt(1)), 2, 3, [(2, "crashed")]),
        (recorded(attempt(5)), None, 6, []),  # a stock client's first try may be any
        (recorded(), 0, 1, []),  # held since a restore
        (recorded(attempt(2**62)), None, 1, []),  # not a number Everpost writes
    ],
)
def test_an_attempt_no_record_tells_of_is_found_by_redis_s_count_or_by_its_intent(
    known: str | None, sending: int | None, job_try: int, lost: list[tuple[int, str]]
) -> None:
    found = lost_attempts(known, sending, job_try, NONE)
    assert [(one.number, one.error_class) for one in found] == lost


@pytest.mark.parametrize(("sending", "job_try"), [(2**62, 1), (None, 2**62), (10**9, 10**9)])
def test_an_absurd_number_of_attempts_is_not_counted_to_its_end(sending: int | None, job_try: int) -> None:
    assert len(lost_attempts(None, sending, job_try, NONE)) == MOST_LOST


@pytest.mark.parametrize(
    ("publisher_class", "phases"),
    [
        (LOCAL, ["claimed/not_known", "sending/not_known"]),
        (KEYED, ["claimed/not_known", "sending/not_known"]),
        (PublisherClass.CHECKABLE, ["claimed/no", "sending/not_known"]),
        (NONE, ["claimed/no", "sending/not_known"]),
    ],
)
def test_without_an_intent_nothing_was_sent_where_the_class_writes_one(
    publisher_class: PublisherClass, phases: list[str]
) -> None:
    found = lost_attempts(None, 2, 3, publisher_class)
    assert [f"{one.evidence.phase}/{one.evidence.bytes_sent}" for one in found if one.evidence] == phases


def test_an_attempt_that_may_have_sent_is_open_until_it_reports() -> None:
    lost = attempt(1, evidence=OPEN, error_class="crashed")
    earlier = read_earlier(recorded(lost, attempt(2, evidence=CLOSED), attempt(3)), KEYED)
    assert (earlier.last, earlier.crashed, earlier.open) == (3, 1, (OpenAttempt(1, "s1"),))
    reported = read_earlier(recorded(lost, attempt(2), attempt(1, late=True, error_class="invalid")), KEYED)
    assert (reported.last, reported.crashed, reported.open) == (2, 0, ())


def test_a_local_publisher_leaves_nothing_open() -> None:
    assert read_earlier(recorded(attempt(1, evidence=OPEN)), LOCAL).open == ()


@pytest.mark.parametrize("text", [None, "[]", "{", '[{"number": "one"}]', "7"])
def test_malformed_attempts_count_as_no_past(text: str | None) -> None:
    assert read_earlier(text, NONE) == NOTHING_EARLIER


def test_a_task_that_had_not_begun_to_send_is_not_a_suspect() -> None:
    earlier = read_earlier(
        recorded(
            attempt(1, error_class="crashed", evidence=CLOSED),
            attempt(2, error_class="crashed", evidence=OPEN),
            attempt(3, error_class="crashed", evidence=OPEN, alone=True),
            attempt(4, error_class="transient"),
        ),
        LOCAL,
    )
    assert (earlier.crashed, earlier.suspected, earlier.died_alone) == (3, 2, True)


@pytest.mark.parametrize(
    ("numbers", "sending", "saved_by", "may"),
    [
        ([], None, None, True),
        ([], 2, 2, True),
        ([1], 2, 1, True),
        ([2], None, None, False),
        ([3], None, None, False),
        ([], 3, None, False),
        ([], None, 3, False),
        ([], 0, None, True),
    ],
)
def test_an_attempt_may_save_until_it_or_a_later_one_is_on_record(
    numbers: list[int], sending: int | None, saved_by: int | None, may: bool
) -> None:
    attempts = recorded(*({"number": number, "started_at": "", "outcome": "retry"} for number in numbers))
    assert may_save(2, attempts, sending, saved_by) is may


def test_a_list_of_attempts_that_cannot_be_read_forbids_no_checkpoint() -> None:
    assert may_save(1, "no json", None, None)
