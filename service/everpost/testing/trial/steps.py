"""The steps of a trial: at which moment of an attempt which fault strikes."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Fault(StrEnum):
    """A fault at a step of an attempt. `kill` is kill -9, `stop` is SIGTERM, `freeze` is SIGSTOP and later SIGCONT."""

    NONE = "none"
    KILL_BEFORE_SEND = "kill_before_send"
    KILL_AMID = "kill_amid"
    KILL_BEFORE_REQUEST = "kill_before_request"
    KILL_AFTER_REQUEST = "kill_after_request"
    KILL_BEFORE_CHECKPOINT = "kill_before_checkpoint"
    KILL_AFTER_CHECKPOINT = "kill_after_checkpoint"
    KILL_BEFORE_RECORD = "kill_before_record"
    STOP_AFTER_REQUEST = "stop_after_request"
    FREEZE_AT_CHECKPOINT = "freeze_at_checkpoint"
    CUT_CONNECTION = "cut_connection"
    CUT_REQUEST = "cut_request"
    CUT_ANSWER = "cut_answer"
    LATE_ANSWER = "late_answer"


WORDS: Mapping[Fault, str] = {
    Fault.NONE: "without a fault",
    Fault.KILL_BEFORE_SEND: "killed before publish() is called",
    Fault.KILL_AMID: "killed after {number}/{of} of the time that publish() takes",
    Fault.KILL_BEFORE_REQUEST: "killed before request {number} reaches the platform",
    Fault.KILL_AFTER_REQUEST: "killed when the platform has answered request {number}",
    Fault.KILL_BEFORE_CHECKPOINT: "killed before checkpoint {number} is saved",
    Fault.KILL_AFTER_CHECKPOINT: "killed when checkpoint {number} is saved",
    Fault.KILL_BEFORE_RECORD: "killed before the result is recorded",
    Fault.STOP_AFTER_REQUEST: "stopped when the platform has answered request {number}",
    Fault.FREEZE_AT_CHECKPOINT: "frozen at checkpoint {number} until another worker has ended the task",
    Fault.CUT_CONNECTION: "connection {number} cut at once",
    Fault.CUT_REQUEST: "connection cut before request {number} reaches the platform",
    Fault.CUT_ANSWER: "connection cut after {of} bytes of the answer to request {number}",
    Fault.LATE_ANSWER: "no answer to request {number} until the attempt is over",
}


class Step(msgspec.Struct, frozen=True):
    """A fault at one moment of an attempt.

    Attributes:
        number: Of the request, the connection or the checkpoint, from 1 on.
        of: For `CUT_ANSWER`, the bytes of the answer that arrive; for `KILL_AMID`, the number of such steps.
    """

    fault: Fault
    number: int = 1
    of: int = 0

    def __str__(self) -> str:
        return WORDS[self.fault].format(number=self.number, of=self.of)


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt without a fault does.

    Attributes:
        answers: The bytes of the platform's answer to each request.
        connections: How many connections were opened.
        checkpoints: How many checkpoints were saved.
    """

    answers: tuple[int, ...] = ()
    connections: int = 0
    checkpoints: int = 0


def plan_steps(course: Course, *, kills_amid: int, cuts: int | None) -> list[Step]:
    """All steps to try, in the order of an attempt.

    Args:
        kills_amid: At how many times within `publish` the worker is killed.
        cuts: After how many different numbers of bytes each answer is cut; None is after every byte.
    """
    steps = [Step(Fault.KILL_BEFORE_SEND)]
    steps += [Step(Fault.KILL_AMID, number + 1, kills_amid) for number in range(kills_amid)]
    steps += [Step(Fault.CUT_CONNECTION, number) for number in range(1, course.connections + 1)]
    for number, answer_bytes in enumerate(course.answers, 1):
        steps += [Step(Fault.KILL_BEFORE_REQUEST, number), Step(Fault.KILL_AFTER_REQUEST, number)]
        steps += [Step(Fault.STOP_AFTER_REQUEST, number), Step(Fault.CUT_REQUEST, number)]
        steps += [Step(Fault.CUT_ANSWER, number, kept) for kept in _offsets(answer_bytes, cuts)]
        steps += [Step(Fault.LATE_ANSWER, number)]
    for number in range(1, course.checkpoints + 1):
        steps += [Step(Fault.KILL_BEFORE_CHECKPOINT, number), Step(Fault.KILL_AFTER_CHECKPOINT, number)]
        steps += [Step(Fault.FREEZE_AT_CHECKPOINT, number)]
    return [*steps, Step(Fault.KILL_BEFORE_RECORD)]


def _offsets(answer_bytes: int, cuts: int | None) -> list[int]:
    """Numbers of bytes after which an answer is cut: evenly spread, none of them the whole answer."""
    if cuts is None or cuts >= answer_bytes:
        return list(range(answer_bytes))
    return [answer_bytes * number // cuts for number in range(cuts)]
