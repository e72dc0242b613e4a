"""One chunk of bulk work: what is known before, what Redis has to give up, and the change that SQLite then makes."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from everpost.clock import Clock
from everpost.errors import QueueUnreachable
from everpost.queue.client import TaskQueue
from everpost.store.archive import Reason
from everpost.store.sqlite.tasks.candidates import Candidate, Candidates
from everpost.store.sqlite.tasks.chunks import Change, Outcome, cancel_chunk, outcome_of_removal, remove_chunk
from everpost.task.cancel_rules import CancelAction, CancelDecision, decide_cancel
from everpost.task.removal_rules import decide_removal

AT_A_TIME = 32  # requests to Redis


class Chunk(msgspec.Struct, frozen=True):
    """A chunk that is ready: outcomes that are certain already, and the change that gives the others."""

    refused: Sequence[Outcome]
    change: Change


class Step(Protocol):
    """What a kind of bulk work does to a chunk of tasks."""

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """What would become of each, with nothing changed."""

    async def prepare(self, task_ids: Sequence[str]) -> Chunk:
        """Everything up to the transaction."""

    async def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Everything after the transaction; a crash before it is mended by the relay."""


class RemoveStep:
    """Moves ended tasks to the archive."""

    def __init__(self, candidates: Candidates, clock: Clock, reason: Reason) -> None:
        self._candidates = candidates
        self._clock = clock
        self._reason = reason

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """See `Step`."""
        found = await self._candidates.find(task_ids, whole=False)
        return [outcome_of_removal(task.task_id, decide_removal(task.position)) for task in found]

    async def prepare(self, task_ids: Sequence[str]) -> Chunk:
        """See `Step`."""
        return Chunk((), remove_chunk(task_ids, self._reason, self._clock()))

    async def finish(self, outcomes: Sequence[Outcome]) -> None:
        """See `Step`."""


class CancelStep:
    """Cancels what waits; with `force`, asks the workers to stop what runs, which counts as done."""

    def __init__(self, candidates: Candidates, queue: TaskQueue, clock: Clock, *, force: bool) -> None:
        self._candidates = candidates
        self._queue = queue
        self._clock = clock
        self._force = force

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """See `Step`."""
        found = await self._candidates.find(task_ids, whole=False)
        return [self._foreseen(task) for task in found]

    async def prepare(self, task_ids: Sequence[str]) -> Chunk:
        """See `Step`."""
        found = await self._candidates.find(task_ids, whole=False)
        decisions = {task.task_id: self._decide(task).action for task in found}
        answers = await withdraw_tasks(self._queue, _having(decisions, CancelAction.WITHDRAW))
        held = _having(decisions, CancelAction.ABORT)
        if self._force:
            held += [task_id for task_id, answer in answers.items() if answer is False]
        aborted = await self._abort(held)
        decided = [*aborted, *unreachable(answers)]
        return Chunk(decided, cancel_chunk(without(task_ids, decided), withdrawn_of(answers), self._clock()))

    async def finish(self, outcomes: Sequence[Outcome]) -> None:
        """See `Step`."""

    async def _abort(self, task_ids: Sequence[str]) -> list[Outcome]:
        outcomes = []
        for task_id in task_ids:
            try:
                await self._queue.abort_task(task_id)
            except QueueUnreachable as error:
                outcomes.append(Outcome(task_id=task_id, reason=error.code))
            else:
                outcomes.append(Outcome(task_id=task_id))
        return outcomes

    def _decide(self, task: Candidate) -> CancelDecision:
        return decide_cancel(task.task_id, task.position, force=self._force)

    def _foreseen(self, task: Candidate) -> Outcome:
        refusal = self._decide(task).refusal
        return Outcome(task_id=task.task_id, reason=None if refusal is None else refusal.code)


def _having(decisions: dict[str, CancelAction], action: CancelAction) -> list[str]:
    return [task_id for task_id, decided in decisions.items() if decided is action]


async def withdraw_tasks(queue: TaskQueue, task_ids: Sequence[str]) -> dict[str, bool | None]:
    """Take waiting tasks out of Redis: True it is out, False a worker holds it, None Redis did not answer.

    Once Redis has not answered, it is not asked again for this chunk.
    """
    answers: dict[str, bool | None] = dict.fromkeys(task_ids)
    for start in range(0, len(task_ids), AT_A_TIME):
        some = task_ids[start : start + AT_A_TIME]
        given = await asyncio.gather(*(queue.withdraw_task(task_id) for task_id in some), return_exceptions=True)
        for task_id, answer in zip(some, given, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, QueueUnreachable):
                raise answer
            answers[task_id] = answer if isinstance(answer, bool) else None
        if any(answers[task_id] is None for task_id in some):
            break
    return answers


def withdrawn_of(answers: dict[str, bool | None]) -> set[str]:
    """The tasks that Redis no longer has."""
    return {task_id for task_id, answer in answers.items() if answer}


def unreachable(answers: dict[str, bool | None]) -> list[Outcome]:
    """The tasks nobody can say of whether a worker holds them."""
    return [
        Outcome(task_id=task_id, reason=QueueUnreachable.code) for task_id, answer in answers.items() if answer is None
    ]


def without(task_ids: Iterable[str], outcomes: Sequence[Outcome]) -> list[str]:
    """The tasks whose outcome is not among `outcomes`."""
    known = {outcome.task_id for outcome in outcomes}
    return [task_id for task_id in task_ids if task_id not in known]
