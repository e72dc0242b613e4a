"""The steps of actions, each for one task or many: find the tasks, decide about each, and change them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from everpost.errors import QueueUnreachable
from everpost.queue.task_queue import TaskQueue
from everpost.store.changes import Change, Outcome, refused

AT_A_TIME = 32  # simultaneous requests to Redis


Apply: TypeAlias = Callable[[Change, Sequence[Outcome]], Awaitable[list[Outcome]]]
"""Applies a change, given the outcomes of the step's other tasks; the outcomes of all. It may be called again, if
tasks are left undecided."""


class Step(Protocol):
    """The part of an action that changes some tasks."""

    async def foresee(self, task_ids: Sequence[str]) -> list[Outcome]:
        """What would happen to each task; this changes nothing."""

    async def run(self, task_ids: Sequence[str], apply: Apply) -> list[Outcome]:
        """Change the tasks."""


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
