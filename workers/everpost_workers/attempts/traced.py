"""The spans of attempts. This module is used only if traces are on."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import structlog
from arq.worker import Retry

from everpost.errors import ServiceError
from everpost.publishing import Publisher, PublishJob, PublishResult
from everpost.publishing.raised import message_of
from everpost.store.traces import TaskTrace, Traces
from everpost.task.callbacks import is_callback, subject_of
from everpost_workers.attempts.attempt import AttemptState, PublishFailedError
from everpost_workers.engine import HandBackError

if TYPE_CHECKING:  # it loads OpenTelemetry
    from contextlib import AbstractContextManager

    from everpost.tracing.spans import Outcome, Tracing

log = structlog.get_logger("everpost.worker")

LONGEST_MESSAGE = 300
NO_TRACE = TaskTrace(None)


class TracedAttempts:
    """Makes the spans of attempts and of the publishers' calls in them."""

    def __init__(self, tracing: "Tracing", traces: Traces, worker_id: str) -> None:
        self._tracing = tracing
        self._traces = traces
        self._worker_id = worker_id

    async def find(self, task_ids: Sequence[str]) -> dict[str, TaskTrace]:
        """The contexts of claimed tasks, in one read. A callback has that of the task it tells of."""
        subjects = {task_id: subject_of(task_id) for task_id in task_ids if is_callback(task_id)}
        try:
            found = await self._traces.find([*task_ids, *subjects.values()])
        except ServiceError as error:  # they run anyway
            log.warning("traces.not_found", error=error.message)
            return {}
        told = {task_id: found[subject] for task_id, subject in subjects.items() if subject in found}
        return told | {task_id: found[task_id] for task_id in task_ids if task_id in found}

    def attempt(self, state: AttemptState, queued_ms: int) -> "AbstractContextManager[object]":
        """The span of an attempt that begins; `queued_ms` is when its job was queued."""
        trace = state.trace or NO_TRACE
        platform = state.platform or "unknown"
        attributes = {
            "messaging.system": "everpost",
            "messaging.operation.type": "process",
            "messaging.destination.name": platform,
            "messaging.message.id": state.task_id,
            "everpost.platform": platform,
            "everpost.attempt": state.number,
            "everpost.worker": self._worker_id,
        }
        is_first = state.number == 1 and state.claims == 1 and queued_ms > 0
        return self._tracing.attempt(
            f"process {platform}",
            trace.context,
            trace.origin,
            attributes,
            queued_ms=queued_ms if is_first else None,
            outcome_of=lambda error: outcome_of(error, state),
        )

    async def publish(self, publisher: Publisher, job: PublishJob) -> PublishResult:
        """Call the publisher in a span of its own, whose context the job carries."""
        platform = job.platform.name
        attributes = {"everpost.platform": platform, "everpost.publisher": job.platform.publisher}
        with self._tracing.call(f"publish {platform}", attributes):
            msgspec.structs.force_setattr(job, "trace_context", self._tracing.headers())
            return await publisher.publish(job)


def outcome_of(error: BaseException, state: AttemptState) -> "Outcome":
    """How an attempt ended that raised this. Its words have no secrets."""
    from everpost.tracing.spans import Outcome  # noqa: PLC0415 - see above

    if isinstance(error, PublishFailedError):
        return Outcome(str(error.status), str(error.error_class), state.unsaid.hide(error.message)[:LONGEST_MESSAGE])
    if isinstance(error, Retry):
        cause = error.__cause__
        if cause is None:
            return Outcome("retry")
        return Outcome("retry", type(cause).__name__, state.unsaid.hide(message_of(cause))[:LONGEST_MESSAGE])
    if isinstance(error, HandBackError):
        return Outcome("handed_back")
    return Outcome("cancelled" if isinstance(error, asyncio.CancelledError) else "failed", type(error).__name__)
