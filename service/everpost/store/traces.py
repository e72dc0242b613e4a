"""The port's noun `traces`: the trace contexts of tasks, which are kept for as long as the tasks."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class TaskTrace(msgspec.Struct, frozen=True):
    """The contexts that a task has, as `everpost.tracing` writes them.

    Attributes:
        context: That of the span that made the task.
        origin: Of a retry: that of the task that it retries.
    """

    context: str | None
    origin: str | None = None


class Traces(Protocol):
    """Keeps trace contexts. Nothing depends on them: a task without one begins a trace."""

    async def keep(self, traces: Mapping[str, TaskTrace]) -> None:
        """Keep the contexts of tasks by their ids; a task that has contexts already keeps them. Durable on return."""

    async def find(self, task_ids: Sequence[str]) -> dict[str, TaskTrace]:
        """The contexts of those of the tasks that have some."""
