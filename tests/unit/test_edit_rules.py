"""Which waiting tasks may be edited."""

import msgspec
import pytest

from everpost.clock import to_text
from everpost.task.edit_rules import EditAction, EditFacts, decide_edit
from everpost.task.late_rules import is_missed, latest_start_ms, missed_message
from everpost.task.model import Attempt, BytesSent, Evidence, SendPhase, TaskStatus
from everpost.task.place import Place, Position

NOW_MS = 1_790_000_000_000


def waiting(status: str = "pending", **fields: object) -> Position:
    values = {"place": Place.LEDGER, "chain_id": "t", **fields}
    return Position(task_id="t", status=status, **values)  # type: ignore[arg-type]  # fields of a Position


def attempts(number: int, sent: BytesSent | None) -> str:
    evidence = None if sent is None else Evidence(phase=SendPhase.SENDING, bytes_sent=sent)
    attempt = Attempt(number=number, started_at=to_text(NOW_MS), outcome=TaskStatus.RETRY, evidence=evidence)
    return msgspec.json.encode([attempt]).decode()


def code_of(facts: EditFacts, claims: int | None = 0) -> str:
    decision = decide_edit("t", facts, claims=claims)
    return decision.action if decision.refusal is None else decision.refusal.code


@pytest.mark.parametrize(
    ("position", "code"),
    [
        (None, "task_not_found"),
        (waiting(), "edit"),
        (waiting("scheduled"), "edit"),
        (waiting("retry"), "edit"),
        (waiting("running"), "task_running"),
        (waiting(sending=True), "task_running"),
        (waiting(held=True, sending=True), "task_held"),
        (waiting(inherited=True), "conflict"),
        (waiting("success", place=Place.HISTORY), "task_ended"),
        (waiting("failed", place=Place.ARCHIVE), "task_ended"),
    ],
)
def test_only_waiting_tasks_are_edited(position: Position | None, code: str) -> None:
    assert code_of(EditFacts(position=position)) == code


def test_a_job_is_taken_out_of_redis_first() -> None:
    assert decide_edit("t", EditFacts(position=waiting())).action is EditAction.WITHDRAW


def test_a_task_that_changed_meanwhile_is_not_edited() -> None:
    assert code_of(EditFacts(position=waiting(), is_as_read=False)) == "task_changing"


@pytest.mark.parametrize(
    ("sent", "code"),
    [(None, "edit"), (BytesSent.NO, "edit"), (BytesSent.YES, "attempt_open"), (BytesSent.NOT_KNOWN, "attempt_open")],
)
def test_a_task_that_may_have_been_sent_is_not_edited(sent: BytesSent | None, code: str) -> None:
    assert code_of(EditFacts(position=waiting("retry"), attempts=attempts(1, sent)), claims=1) == code


def test_a_claim_without_an_attempt_is_that_of_a_worker_that_never_reported() -> None:
    assert code_of(EditFacts(position=waiting()), claims=1) == "task_running"
    assert code_of(EditFacts(position=waiting(), attempts=attempts(1, None)), claims=2) == "task_running"


def test_a_task_is_missed_after_its_latest_start_unless_it_may_have_been_sent() -> None:
    late_at = to_text(NOW_MS)
    assert not is_missed(late_at, NOW_MS, may_be_sent=False)
    assert is_missed(late_at, NOW_MS + 1, may_be_sent=False)
    assert not is_missed(late_at, NOW_MS + 1, may_be_sent=True)
    assert not is_missed("what another program wrote", NOW_MS, may_be_sent=False)
    assert "its last attempt failed: no route" in missed_message(late_at, NOW_MS + 1, "no route")


@pytest.mark.parametrize(
    ("limit", "default", "due_ms", "latest_ms"),
    [
        (None, None, None, None),
        (60, None, None, NOW_MS + 60_000),
        (0.5, 60, NOW_MS + 1_000, NOW_MS + 1_500),
        (None, 60, NOW_MS - 1_000, NOW_MS + 60_000),
        ("60", None, None, None),
        (True, 5, None, NOW_MS + 5_000),
        (float("inf"), 5, None, NOW_MS + 5_000),
        (-1, None, None, None),
    ],
)
def test_the_latest_start_is_counted_from_when_it_could_begin(
    limit: object, default: float | None, due_ms: int | None, latest_ms: int | None
) -> None:
    assert latest_start_ms(limit, default, due_ms, NOW_MS) == latest_ms
