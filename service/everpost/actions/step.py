"""The steps of every action, for one task or many: find the tasks, decide about each, and change them."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from everpost.errors import QueueUnreachable
from everpost.queue.task_queue import TaskQueue
from everpost.store.changes import Change, Changes, Outcome, refused

AT_A_TIME = 32  # simultaneous requests to Redis


class Prepared(msgspec.Struct, frozen=True):
    """A step that is ready to be written.

    Attributes:
        decided: The outcomes that are already certain.
        change: Gives the outcomes of all other tasks.
    """

    decided: Sequence[Outcome]
    change: Change


class Step(Protocol):
    """The part of an action that changes some tasks."""

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """What would happen to each task; this changes nothing."""

    async def prepare(self, task_ids: Sequence[str]) -> Prepared:
        """Do everything that comes before the transaction, such as taking jobs out of Redis."""

    async def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Do everything that comes after the transaction. If a crash prevents it, the relay does it."""


async def apply_to_one(changes: Changes, prepared: Prepared, now_ms: int) -> Outcome:
    """Apply a step with one task, and return its outcome."""
    outcomes = prepared.decided or await changes.apply(prepared.change, now_ms)
    return outcomes[0]


class Withdrawn(msgspec.Struct, frozen=True):
    """The result of taking jobs out of Redis.

    Attributes:
        out: Redis no longer has these.
        held: A worker holds these.
        unreachable: Redis did not answer for these.
    """

    out: set[str]
    held: list[str]
    unreachable: list[Outcome]


async def withdraw_tasks(queue: TaskQueue, task_ids: Sequence[str]) -> Withdrawn:
    """Take waiting tasks out of Redis. After the first call without an answer, Redis is not asked about the rest."""
    withdrawn = Withdrawn(set(), [], [])
    for start in range(0, len(task_ids), AT_A_TIME):
        some = task_ids[start : start + AT_A_TIME]
        answers = await asyncio.gather(*(queue.jobs.withdraw_task(task_id) for task_id in some), return_exceptions=True)
        failure: QueueUnreachable | None = None
        for task_id, answer in zip(some, answers, strict=True):
            if isinstance(answer, QueueUnreachable):
                failure = answer
                withdrawn.unreachable.append(refused(task_id, answer))
            elif isinstance(answer, BaseException):
                raise answer
            elif answer:
                withdrawn.out.add(task_id)
            else:
                withdrawn.held.append(task_id)
        if failure is not None:
            withdrawn.unreachable.extend(refused(task_id, failure) for task_id in task_ids[start + AT_A_TIME :])
            break
    return withdrawn
