"""Which steps a trial takes, and what it calls bad."""

import pytest

from everpost.publishing import PublisherClass
from everpost.testing.trial import Fault, Finding, Step, TrialReport
from everpost.testing.trial.steps import Course, plan_steps
from everpost.testing.trial.verdicts import assessed

KEYED, CHECKABLE, NONE = PublisherClass.KEYED, PublisherClass.CHECKABLE, PublisherClass.NONE


def finding(status: str | None, posts: int, error: str | None = None) -> Finding:
    return Finding(step=Step(Fault.KILL_AFTER_REQUEST, 2), status=status, posts=posts, error=error)


@pytest.mark.parametrize(
    ("publisher_class", "found", "fault"),
    [
        (KEYED, finding("success", 1), None),
        (NONE, finding("success", 2), "the platform has it 2 times"),
        (NONE, finding("unknown", 1), None),
        (NONE, finding("unknown", 0), None),
        (NONE, finding("unknown", 2), "2 times"),
        (KEYED, finding("unknown", 1, "why"), "left to a person, although the class is KEYED: why"),
        (CHECKABLE, finding("unknown", 1), "left to a person"),
        (KEYED, finding("success", 0), "the platform does not have it"),
        (KEYED, finding("failed", 1, "why"), "called failed, and the platform has it: why"),
        (KEYED, finding("failed", 0, "why"), "given up, although the platform works: why"),
        (NONE, finding(None, 0), "did not end in time"),
    ],
)
def test_a_finding_is_assessed_by_the_class(publisher_class: PublisherClass, found: Finding, fault: str | None) -> None:
    told = assessed(found, publisher_class).fault
    assert (told is None) == (fault is None)
    assert (fault or "") in (told or "")


def test_who_says_that_tasks_may_be_left_to_a_person_is_believed() -> None:
    assert assessed(finding("unknown", 1), CHECKABLE, may_be_unknown=True).fault is None
    assert assessed(finding("unknown", 1), NONE, may_be_unknown=False).fault is not None


def test_every_moment_of_the_course_has_its_steps() -> None:
    steps = plan_steps(Course(answers=(10, 3), connections=1, checkpoints=2), kills_amid=0, cuts=2)
    assert len(set(steps)) == len(steps)
    assert {step.fault for step in steps} == set(Fault) - {Fault.NONE, Fault.KILL_AMID}
    cut = [(step.number, step.of) for step in steps if step.fault is Fault.CUT_ANSWER]
    assert cut == [(1, 0), (1, 5), (2, 0), (2, 1)]
    assert [step.number for step in steps if step.fault is Fault.FREEZE_AT_CHECKPOINT] == [1, 2]


def test_an_answer_can_be_cut_after_every_byte() -> None:
    steps = plan_steps(Course(answers=(4,)), kills_amid=0, cuts=None)
    assert [step.of for step in steps if step.fault is Fault.CUT_ANSWER] == [0, 1, 2, 3]


def test_without_a_connection_kills_are_spread_over_the_time_of_publish() -> None:
    steps = plan_steps(Course(), kills_amid=2, cuts=3)
    assert [str(step) for step in steps] == [
        "killed before publish() is called",
        "killed after 1/2 of the time that publish() takes",
        "killed after 2/2 of the time that publish() takes",
        "killed before the result is recorded",
    ]


def test_the_report_is_a_table_that_shows_what_is_bad() -> None:
    findings = [
        Finding(step=Step(Fault.NONE), status="success", posts=1),
        assessed(finding("success", 2), KEYED),
        Finding(step=Step(Fault.CUT_REQUEST, 3), status="unknown", posts=1, was_reached=False),
    ]
    report = TrialReport(name="Mine", publisher_class=KEYED, findings=findings)
    assert not report.is_good
    assert str(report).splitlines() == [
        "Mine, class KEYED: 3 steps, 1 bad, 1 left to a person",
        "  ok   without a fault                                       success, 1 post",
        "  BAD  killed when the platform has answered request 2       success, 2 posts: the platform has it 2 times",
        "  ok   connection cut before request 3 reaches the platform  unknown, 1 post (not reached)",
    ]
