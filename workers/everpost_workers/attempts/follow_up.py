"""Decides what follows an attempt without success: another attempt, noted in the ledger, or the end of the task."""

from collections.abc import Callable

import msgspec
import structlog
from arq.worker import Retry

from everpost.clock import Clock, to_text
from everpost.errors import InvalidValue
from everpost.limits import Scope, lane_of
from everpost.platforms import CALLBACK, Catalogue, Platform
from everpost.publishing import Publisher, PublisherClass
from everpost.publishing.raised import declared_class_of, error_class_of, is_a, message_of, retry_after_of
from everpost.settings import Settings
from everpost.store import Store
from everpost.task.account_rules import AccountStatus, standing_after
from everpost.task.attempt_rules import Ended, NextAttempt, decide_attempt, pause_of_account_s
from everpost.task.model import Attempt, ErrorClass, TaskStatus
from everpost_workers.accounts.book import AccountBook, AccountClosedError
from everpost_workers.attempts.attempt import AttemptState, PublishFailedError
from everpost_workers.attempts.intents import persist
from everpost_workers.attempts.unknown import CannotRepeatError, NoAnswerError
from everpost_workers.cells.suspects import SuspectDiedError
from everpost_workers.engine import CancelCause
from everpost_workers.metrics import WorkerMetrics

log = structlog.get_logger("everpost.worker")

AFTER_HOLD = NextAttempt(1.0, spends=False)  # then it finds its account on hold, and waits
STOPPED = "The worker was stopped while it was sending."

CloseLane = Callable[[Scope, float], None]
"""Lets no task of a lane begin for so many seconds."""


def keep_lanes_open(_: Scope, __: float) -> None:
    """Close no lane."""


class FollowUp:
    """Decides what follows, and writes an attempt that will be repeated into the ledger.

    Args:
        worker_id: This worker's name in the list of attempts.
        close_lane: Called after each answer of a platform that an account is too fast.
        book: Holds the account after some failures.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        store: Store,
        settings: Settings,
        clock: Clock,
        metrics: WorkerMetrics,
        *,
        worker_id: str,
        book: AccountBook,
        close_lane: CloseLane = keep_lanes_open,
    ) -> None:
        self._close_lane = close_lane
        self._book = book
        self._catalogue = catalogue
        self._ledger = store.ledger
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._worker_id = worker_id

    async def after_error(self, state: AttemptState, publisher: Publisher | None, error: BaseException) -> Exception:
        """The exception that makes the engine end the job or try it again, after `error`."""
        error_class = self._class_of(error, publisher)
        message = state.unsaid.hide(message_of(error))
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
            backoff_base_s=platform.backoff_base_s if platform else 0,
            backoff_max_s=platform.backoff_max_s if platform else 0,
        )
        # A receiver of callbacks is no account: others of the same account may take theirs.
        if error_class is ErrorClass.RATE_LIMITED and platform is not None and platform.name != CALLBACK:
            account_id = str((state.data or {}).get("account_id") or "")
            self._close_lane(lane_of(platform.name, account_id), pause_of_account_s(retry_after_of(error)))
        if is_a(error, CannotRepeatError):
            return PublishFailedError(TaskStatus.UNKNOWN, error_class, message, attempted=False)
        if is_a(error, AccountClosedError):
            return PublishFailedError(TaskStatus.FAILED, error_class, message, attempted=False)
        if await self._is_held(state, platform, error_class, message):
            await self._defer(state, self._attempt_of(state, error_class, message, said), AFTER_HOLD)
            return Retry(defer=AFTER_HOLD.delay_s)
        if isinstance(decision, Ended):
            if error_class is ErrorClass.RATE_LIMITED:
                message += f" (given up after {limits.count + 1} attempts and {limits.paused_s:.0f} s of waiting)"
            return PublishFailedError(decision.status, error_class, message, said=said)
        attempt = self._attempt_of(state, error_class, message, said)
        if error_class is ErrorClass.RATE_LIMITED:
            attempt = msgspec.structs.replace(attempt, paused_s=round(limits.paused_s + decision.delay_s, 3))
        await self._defer(state, attempt, decision)
        return Retry(defer=decision.delay_s)

    async def _is_held(
        self, state: AttemptState, platform: Platform | None, error_class: ErrorClass, message: str
    ) -> bool:
        """Whether the account is on hold because of this failure, so that the task waits for it and does not end."""
        if platform is None or state.data is None or standing_after(error_class) is None:
            return False
        account_id, account = state.data.get("account_id"), state.account
        noted = await persist(lambda: self._book.note_failure(platform.name, account_id, account, error_class, message))
        return noted is AccountStatus.HELD

    async def after_death(self, state: AttemptState, death: SuspectDiedError) -> Exception:
        """The same, after the death of the cell that ran the attempt."""
        message = f"The process that ran it died: {death}."
        attempt = msgspec.structs.replace(
            self._attempt_of(state, ErrorClass.CRASHED, message, None),
            outcome=TaskStatus.UNKNOWN,
            alone=death.was_alone,
        )
        log.warning("attempt.process_died", task_id=state.task_id, alone=death.was_alone, how=str(death))
        await self._defer(state, attempt, NextAttempt(0.0, spends=False))
        return Retry()

    async def after_cut_off(
        self, state: AttemptState, publisher_class: PublisherClass, cause: CancelCause | None
    ) -> Exception | None:
        """The same, after a cancellation while sending; None if the cancellation itself should continue.

        After an abort or a timeout, the engine ends the task. Otherwise the ledger must know of the attempt.
        """
        if cause in {CancelCause.ABORT, CancelCause.TIMEOUT} or publisher_class is PublisherClass.LOCAL:
            return None
        if publisher_class is PublisherClass.NONE:
            return PublishFailedError(TaskStatus.UNKNOWN, ErrorClass.UNKNOWN, STOPPED)
        if cause is CancelCause.SHUTDOWN:
            attempt = self._attempt_of(state, ErrorClass.UNKNOWN, STOPPED, None)
            await self._defer(state, attempt, NextAttempt(0.0, spends=False))
            return Retry()
        return None

    def _attempt_of(self, state: AttemptState, error_class: ErrorClass, message: str, said: str | None) -> Attempt:
        """The attempt in the form the ledger keeps while the task is tried again."""
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
