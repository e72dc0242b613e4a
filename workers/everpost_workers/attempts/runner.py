"""The arq job `publish`: one attempt to publish one task."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from arq.worker import Retry

from everpost.clock import BootClock, Clock, to_text
from everpost.errors import InvalidValue
from everpost.failpoints import failpoint
from everpost.platforms import Catalogue, Platform
from everpost.publishing import (
    InvalidError,
    Publisher,
    PublisherClass,
    PublishJob,
    PublishResult,
    describe_media,
    idempotency_key,
)
from everpost.publishing.media import resolve_media
from everpost.publishing.raised import declared_class_of, error_class_of, is_a, message_of, retry_after_of
from everpost.publishing.results import CUT, UNPRINTABLE, checked_result
from everpost.queue.codec import decoded_data
from everpost.settings import Settings
from everpost.store import Store
from everpost.task.attempt_rules import Ended, NextAttempt, cell_for, decide_attempt, kills_its_workers
from everpost.task.model import Attempt, ErrorClass, TaskStatus
from everpost_workers.attempts.attempt import AttemptState, PublishFailedError
from everpost_workers.attempts.defects import tell_of_defect
from everpost_workers.attempts.intents import Intents, persist
from everpost_workers.attempts.unknown import (
    CannotRepeatError,
    NoAnswerError,
    as_failure,
    keeps_intents,
    settle_failed,
)
from everpost_workers.cells.isolation import Isolation, SuspectDiedError
from everpost_workers.engine import CancelCause, HandBackError, cause_of
from everpost_workers.engine.cancellation import comes_from_outside
from everpost_workers.engine.deadlines import TimeLimits
from everpost_workers.metrics import WorkerMetrics

log = structlog.get_logger("everpost.worker")

STOPPED = "The worker was stopped while it was sending."


class AttemptRunner:
    """Runs attempts.

    Args:
        worker_id: Who this is, for the attempt history.
        isolation: Where suspects run; None runs them here.
    """

    def __init__(
        self,
        publishers: Mapping[str, Publisher],
        catalogue: Catalogue,
        store: Store,
        settings: Settings,
        clock: Clock,
        metrics: WorkerMetrics,
        *,
        boot_clock: BootClock,
        worker_id: str,
        isolation: Isolation | None = None,
    ) -> None:
        self._metrics = metrics
        self._publishers = publishers
        self._catalogue = catalogue
        self._ledger = store.ledger
        self._settings = settings
        self._clock = clock
        self._intents = Intents(store, clock, boot_clock)
        self._worker_id = worker_id
        self._isolation = isolation or Isolation(is_possible=False)
        self._limits = TimeLimits()

    async def publish(self, state: AttemptState, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Publish a task once; answers what the publisher returned, as a dict that stock arq clients can read.

        Args:
            arguments: The job's, by name.

        Raises:
            Retry: It will be tried again; the attempt is in the ledger.
            PublishFailedError: It has ended.
            HandBackError: It has not begun: a suspect, and its turn has not come.
            CancelledError: The worker is going down and nothing was sent, or sending it again does no harm.
        """
        state.started_ms = self._clock()
        publisher: Publisher | None = None
        _check_refusal(state)
        if state.earlier.crashed:
            self._check_lost_attempts(state)
        try:
            job = await self._prepare(state, arguments)
            publisher = self._publishers[job.platform.name]
            if state.earlier.suspected:
                async with self._isolation.enter(publisher, cell_for(state.earlier.suspected)) as stand_in:
                    state.result = await self._attempt(stand_in, job, state)
            else:
                state.result = await self._attempt(publisher, job, state)
        except (HandBackError, GeneratorExit):  # what a publisher raises is no GeneratorExit any more
            raise
        except SuspectDiedError as death:
            raise await self._outlive(state, death) from death
        except asyncio.CancelledError as cut_off:
            if publisher is not None and state.sending is not None:
                await self._cut_off(state, publisher.publisher_class, cause_of(cut_off))
            raise
        except BaseException as error:
            raise await self._what_follows(state, publisher, error) from error
        return msgspec.to_builtins(state.result)  # type: ignore[no-any-return]

    async def _prepare(self, state: AttemptState, arguments: Mapping[str, Any]) -> PublishJob:
        try:
            offered = arguments.get("task_data") if state.task_data is None else state.task_data
            data = state.data = decoded_data(offered)
            platform = self._catalogue.find(data.get("platform", ""))
        except InvalidValue as error:
            raise InvalidError(error.message) from error
        facts, settings = state.facts, self._settings
        return PublishJob(
            task_id=state.task_id,
            data=data,
            platform=platform,
            attempt=state.number,
            idempotency_key=idempotency_key(*((facts.chain_id, facts.generation) if facts else (state.task_id, 0))),
            media=await resolve_media(data, settings.media_root, settings.max_media) if data.get("file_path") else None,
        )

    async def _attempt(self, publisher: Publisher, job: PublishJob, state: AttemptState) -> PublishResult:
        if state.earlier.open and (found := await self._intents.settle_earlier(publisher, job, state)) is not None:
            return _kept_result(job, found)
        if keeps_intents(publisher):
            await self._intents.write(publisher, job, state)
        state.sending = job.trace
        failpoint("send.before")
        limit = self._limits.limit(self._settings.job_timeout)
        try:
            with limit:
                result = checked_result(await publisher.publish(job))
            failpoint("send.after")
        except SuspectDiedError:
            raise
        except BaseException as error:
            if comes_from_outside(error, limit.task):
                raise
            is_late = is_a(error, TimeoutError) and limit.expired  # else it is the publisher's own
            if not is_late:
                tell_of_defect(error, job)
            result = await settle_failed(
                publisher, job, NoAnswerError(self._settings.job_timeout) if is_late else as_failure(error)
            )
        return _kept_result(job, result, media=describe_media(job.data, job.media))

    async def _what_follows(self, state: AttemptState, publisher: Publisher | None, error: BaseException) -> Exception:
        error_class = self._class_of(error, publisher)
        message = message_of(error)
        said = None if is_a(error, NoAnswerError) else message
        platform, limits = self._platform_of(state), state.earlier.limits
        decision = decide_attempt(
            error_class,
            may_rerun=publisher is not None and publisher.publisher_class.may_rerun,
            spent=state.facts.spent if state.facts else state.claims - 1,
            max_attempts=(platform.max_attempts or self._settings.max_attempts) if platform else 1,
            retry_after_s=retry_after_of(error),
            limits=limits,
            rate_limit_deadline_s=platform.rate_limit_deadline_s if platform else 0,
        )
        if is_a(error, CannotRepeatError):
            return PublishFailedError(TaskStatus.UNKNOWN, error_class, message, attempted=False)
        if isinstance(decision, Ended):
            if error_class is ErrorClass.RATE_LIMITED:
                message += f" (given up after {limits.count + 1} attempts and {limits.paused_s:.0f} s of waiting)"
            return PublishFailedError(decision.status, error_class, message, said=said)
        attempt = self._attempt_of(state, error_class, message, said)
        if error_class is ErrorClass.RATE_LIMITED:
            attempt = msgspec.structs.replace(attempt, paused_s=round(limits.paused_s + decision.delay_s, 3))
        await self._defer(state, attempt, decision)
        return Retry(defer=decision.delay_s)

    async def _outlive(self, state: AttemptState, death: SuspectDiedError) -> Exception:
        """What follows when the process died that ran the attempt, and the worker did not."""
        message = f"The process that ran it died: {death}."
        attempt = msgspec.structs.replace(
            self._attempt_of(state, ErrorClass.CRASHED, message, None),
            outcome=TaskStatus.UNKNOWN,
            alone=death.was_alone,
        )
        log.warning("attempt.process_died", task_id=state.task_id, alone=death.was_alone, how=str(death))
        await self._defer(state, attempt, NextAttempt(0.0, spends=False))
        return Retry()

    def _check_lost_attempts(self, state: AttemptState) -> None:
        """Give up on a task that kills its workers; nobody knows how far they came (I6)."""
        earlier, can_run_alone = state.earlier, self._isolation.is_possible
        if kills_its_workers(earlier.crashed, died_alone=earlier.died_alone, can_run_alone=can_run_alone):
            message = f"{earlier.crashed} workers died while they ran this task"
            message += ", the last one while it ran nothing else." if earlier.died_alone else "."
            raise PublishFailedError(TaskStatus.UNKNOWN, ErrorClass.CRASHED, message, attempted=False)

    async def _cut_off(self, state: AttemptState, publisher_class: PublisherClass, cause: CancelCause | None) -> None:
        """Have an attempt that is cut off mid-send stay known, unless the engine ends the task for it."""
        if cause in {CancelCause.ABORT, CancelCause.TIMEOUT} or publisher_class is PublisherClass.LOCAL:
            return
        if publisher_class is PublisherClass.NONE:
            raise PublishFailedError(TaskStatus.UNKNOWN, ErrorClass.UNKNOWN, STOPPED) from None
        if cause is CancelCause.SHUTDOWN:
            attempt = self._attempt_of(state, ErrorClass.UNKNOWN, STOPPED, None)
            await self._defer(state, attempt, NextAttempt(0.0, spends=False))
            raise Retry from None

    def _attempt_of(self, state: AttemptState, error_class: ErrorClass, message: str, said: str | None) -> Attempt:
        """The attempt, for the ledger: the task is tried again."""
        is_open = error_class in {ErrorClass.UNKNOWN, ErrorClass.CRASHED}
        return Attempt(
            number=state.number,
            started_at=to_text(state.started_ms),
            finished_at=to_text(self._clock()),
            outcome=TaskStatus.RETRY,
            error_class=error_class,
            error=message,
            worker=self._worker_id,
            evidence=state.evidence(said) if is_open else None,
            since_boot=state.since_boot if is_open else None,
        )

    async def _defer(self, state: AttemptState, attempt: Attempt, decision: NextAttempt) -> None:
        now_ms = self._clock()
        due_at_ms = now_ms + round(decision.delay_s * 1000)
        await persist(lambda: self._ledger.defer(state.task_id, attempt, due_at_ms, spent=decision.spends))
        self._metrics.count_attempts([(state.platform, attempt, now_ms - state.started_ms)])
        log.info(
            "task.deferred",
            task_id=state.task_id,
            attempt=attempt.number,
            error_class=attempt.error_class,
            due_in_s=round(decision.delay_s, 3),
        )

    @staticmethod
    def _class_of(error: BaseException, publisher: Publisher | None) -> ErrorClass:
        if publisher is not None:
            return error_class_of(error, publisher.publisher_class)
        return declared_class_of(error) or ErrorClass.PERMANENT

    def _platform_of(self, state: AttemptState) -> Platform | None:
        try:
            return self._catalogue.find((state.data or {}).get("platform", ""))
        except InvalidValue:
            return None


def _kept_result(job: PublishJob, result: PublishResult, **more_detail: str) -> PublishResult:
    """What is kept of a publisher's result. The post is out, so whatever is wrong with it fails nothing."""
    kept = PublishResult.storable(result, **more_detail)
    if UNPRINTABLE not in kept.detail and CUT not in kept.detail:
        return kept
    for mark, event in ((UNPRINTABLE, "publish.result_refused"), (CUT, "publish.result_cut")):
        if mark in kept.detail:
            log.warning(event, task_id=job.task_id, platform=job.platform.name, what=kept.detail[mark])
    return kept


def _check_refusal(state: AttemptState) -> None:
    if state.refusal is not None:
        raise PublishFailedError(TaskStatus.FAILED, ErrorClass.INVALID, state.refusal, attempted=False)
