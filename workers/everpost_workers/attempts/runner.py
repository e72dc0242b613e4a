"""The arq job `publish`: one attempt to publish one task."""

import asyncio
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from everpost.clock import BootClock, Clock
from everpost.errors import InvalidValue, Unavailable
from everpost.failpoints import failpoint
from everpost.files.lookup import FileLookup
from everpost.known_secrets import CURRENT, NO_SECRETS, KnownSecrets
from everpost.platforms import Catalogue, Platform
from everpost.publishing import (
    Account,
    InvalidError,
    Media,
    Publisher,
    PublishJob,
    PublishResult,
    UnregisteredAccount,
    describe_media,
    idempotency_key,
)
from everpost.publishing.raised import forget_frames, is_a
from everpost.publishing.results import CUT, UNPRINTABLE, checked_result
from everpost.settings import Settings
from everpost.store import Store
from everpost.task.attempt_rules import cell_for, kills_its_workers
from everpost.task.callbacks import is_callback
from everpost.task.earlier_attempts import last_error_of
from everpost.task.late_rules import missed_message
from everpost.task.model import ErrorClass, TaskStatus
from everpost.task.submission import decoded_data
from everpost_workers.accounts.book import AccountBook, AccountWaitsError
from everpost_workers.accounts.job_account import JobAccount
from everpost_workers.attempts.attempt import AttemptState, MissedError, PublishFailedError
from everpost_workers.attempts.checkpoints import AttemptKeeper, saved_checkpoint
from everpost_workers.attempts.defects import tell_of_defect
from everpost_workers.attempts.follow_up import CloseLane, FollowUp, keep_lanes_open
from everpost_workers.attempts.intents import Intents, persist
from everpost_workers.attempts.progress import ProgressBoard
from everpost_workers.attempts.unknown import NoAnswerError, as_failure, find_post_despite, keeps_intents
from everpost_workers.cells.isolation import Isolation
from everpost_workers.cells.suspects import SuspectDiedError
from everpost_workers.engine import HandBackError, TimeLimits, cause_of, comes_from_outside
from everpost_workers.metrics import WorkerMetrics

if TYPE_CHECKING:  # only a worker that makes traces loads it
    from everpost_workers.attempts.traced import TracedAttempts

log = structlog.get_logger("everpost.worker")

NO_STORE_S = 1.0  # after which a task whose files could not be looked up runs again
LOOK_AGAIN_S = (1.0, 3.0)  # delay until a task comes again that found its account paused or held


class AttemptRunner:
    """Runs attempts.

    Args:
        worker_id: This worker's name in the list of attempts.
        board: Shows the attempts' progress.
        book: Opens accounts.
        isolation: Runs suspects; None runs them in this process.
        close_lane: Lets no task of a lane begin for so many seconds.
        traced: Makes a span of each call of a publisher, if traces are on.
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
        board: ProgressBoard,
        book: AccountBook,
        isolation: Isolation | None = None,
        close_lane: CloseLane = keep_lanes_open,
        traced: "TracedAttempts | None" = None,
    ) -> None:
        self._publishers = publishers
        self._catalogue = catalogue
        self._settings = settings
        self._clock = clock
        self._ledger = store.ledger
        self._board = board
        self._files = FileLookup(store.files, settings)
        self._intents = Intents(store, clock, boot_clock)
        self._follow_up = FollowUp(
            catalogue, store, settings, clock, metrics, worker_id=worker_id, book=book, close_lane=close_lane
        )
        self._book = book
        self._isolation = isolation or Isolation(is_possible=False)
        self._redactor = settings.redactor
        self._traced = traced
        self._limits = TimeLimits()

    async def publish(self, state: AttemptState, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Publish a task once; return the publisher's result as a dict that stock arq clients can read.

        Args:
            arguments: The job's arguments by name.

        Raises:
            Retry: The task will be tried again; the attempt is in the ledger.
            PublishFailedError: The task has ended.
            HandBackError: The attempt has not begun: a suspect must wait for its turn, or the lease has ended.
            CancelledError: The worker is stopping, and nothing was sent or sending again is harmless.
        """
        state.started_ms = self._clock()
        publisher: Publisher | None = None
        _check_refusal(state)
        if state.earlier.crashed:
            self._check_lost_attempts(state)
        self._check_late(state)  # also if its account is held
        try:
            job = await self._prepare(state, arguments)
            publisher = self._publishers[job.platform.name]
            if state.earlier.suspected:
                async with self._isolation.enter(publisher, cell_for(state.earlier.suspected)) as stand_in:
                    state.result = await self._attempt(stand_in, job, state)
            else:
                state.result = await self._attempt(publisher, job, state)
        except (HandBackError, MissedError, GeneratorExit):  # `as_failure` has replaced a publisher's own GeneratorExit
            raise
        except SuspectDiedError as death:
            raise await self._follow_up.after_death(state, death) from death
        except asyncio.CancelledError as cut_off:
            if publisher is not None and state.sending is not None:
                end = await self._follow_up.after_cut_off(state, publisher.publisher_class, cause_of(cut_off))
                if end is not None:
                    raise end from None
            raise
        except BaseException as error:
            forget_frames(error)  # frees its memory before the outcome is recorded, which needs memory, too
            raise await self._follow_up.after_error(state, publisher, error) from error
        finally:
            state.has_ended = True
            self._board.forget(state.task_id)
        return msgspec.to_builtins(state.result)  # type: ignore[no-any-return]

    async def _prepare(self, state: AttemptState, arguments: Mapping[str, Any]) -> PublishJob:
        try:
            offered = arguments.get("task_data") if state.task_data is None else state.task_data
            data = state.data = decoded_data(offered)
            platform = self._catalogue.find(data.get("platform", ""))
        except InvalidValue as error:
            raise InvalidError(error.message) from error
        if platform.internal and not is_callback(state.task_id):
            raise InvalidError("Only Everpost itself makes callbacks.")
        facts = state.facts
        account = await self._open_account(state, platform, data.get("account_id"))
        self._hide(data, state)
        files = () if self._files.names_none(data) else await self._find_files(data, state)
        return PublishJob(
            task_id=state.task_id,
            data=data,
            platform=platform,
            attempt=state.number,
            idempotency_key=idempotency_key(*((facts.chain_id, facts.generation) if facts else (state.task_id, 0))),
            files=files,
            saved=saved_checkpoint(state),
            keeper=AttemptKeeper(self._ledger, self._board, self._clock, state),
            account=account,
        )

    async def _find_files(self, data: Mapping[str, Any], state: AttemptState) -> tuple[Media, ...]:
        try:
            files = await self._files.find(data)
        except Unavailable as error:  # the store; nothing was attempted
            log.warning("attempt.no_database", task_id=state.task_id, error=error.message)
            raise HandBackError(NO_STORE_S) from error
        state.file_ids = tuple(media.file_id for media in files if media.file_id is not None)
        return files

    async def _open_account(self, state: AttemptState, platform: Platform, account_id: object) -> Account:
        """The account the task names.

        Raises:
            HandBackError: It is paused or held, so the task waits.
            PublishError: It is blocked for good, or needed and not registered.
        """
        is_needed = platform.needs_account or self._publishers[platform.name].needs_account
        if not is_needed and self._book.lacks(platform.name, account_id, state.accounts_version):
            return UnregisteredAccount(account_id if isinstance(account_id, str) else "", platform.name)
        try:
            account = await persist(lambda: self._book.open(platform.name, account_id, is_needed=is_needed))
        except AccountWaitsError as waits:
            log.info("task.waits_for_account", task_id=state.task_id, platform=platform.name, why=waits.account.status)
            raise HandBackError(random.uniform(*LOOK_AGAIN_S)) from waits  # noqa: S311 - spread, so that they do not return together
        if isinstance(account, JobAccount):
            state.account, state.secrets = account, account.secrets
        return account

    def _hide(self, data: Mapping[str, Any], state: AttemptState) -> None:
        """Keep the account's secrets and the data's hidden members out of messages and log lines from now on."""
        state.unsaid = state.secrets
        if texts := self._redactor.texts_in(data):
            state.unsaid = KnownSecrets(besides=state.secrets)
            state.unsaid.learn(texts)
        if state.unsaid is not NO_SECRETS:
            CURRENT.set(state.unsaid)

    async def _attempt(self, publisher: Publisher, job: PublishJob, state: AttemptState) -> PublishResult:
        if state.earlier.open and (found := await self._intents.find_earlier_post(publisher, job, state)) is not None:
            return _kept_result(job, state.unsaid, found)
        self._check_late(state)
        if not state.holds_lease():
            raise _lease_ended(state)
        if keeps_intents(publisher):
            await self._intents.write(publisher, job, state)
        state.sending = job.trace
        failpoint("send.before")
        if not state.holds_lease():
            state.sending = None
            await self._intents.take_back(publisher, job, state)
            raise _lease_ended(state)
        limit = self._limits.limit(self._settings.job_timeout)
        try:
            with limit:
                call = publisher.publish(job) if self._traced is None else self._traced.publish(publisher, job)
                result = checked_result(await call)
            failpoint("send.after")
        except SuspectDiedError:
            raise
        except BaseException as error:
            if comes_from_outside(error, limit.task):
                raise
            is_late = is_a(error, TimeoutError) and limit.expired  # otherwise the publisher itself raised it
            if not is_late:
                tell_of_defect(error, job)
            failure = NoAnswerError(self._settings.job_timeout) if is_late else as_failure(error)
            result = await find_post_despite(failure, publisher, job)
        media = describe_media(job.data, job.media, len(job.files) - 1)
        return _kept_result(job, state.unsaid, result, media=media)

    def _check_late(self, state: AttemptState) -> None:
        """End a task that is too late to begin, unless it may have been sent: then more must be found out (I6)."""
        facts, now_ms = state.facts, self._clock()
        if facts is not None and facts.late_at is not None and state.is_missed_at(now_ms):
            message = missed_message(facts.late_at, now_ms, last_error_of(facts.attempts))
            raise MissedError(message)

    def _check_lost_attempts(self, state: AttemptState) -> None:
        """Give up on a task that kills its workers; how far its attempts came is unknown (I6)."""
        earlier, can_run_alone = state.earlier, self._isolation.is_possible
        if kills_its_workers(earlier.crashed, died_alone=earlier.died_alone, can_run_alone=can_run_alone):
            message = f"{earlier.crashed} workers died while they ran this task"
            message += ", the last one while it ran nothing else." if earlier.died_alone else "."
            raise PublishFailedError(TaskStatus.UNKNOWN, ErrorClass.CRASHED, message, attempted=False)


def _kept_result(job: PublishJob, secrets: KnownSecrets, result: PublishResult, **more_detail: str) -> PublishResult:
    """The part of a publisher's result that is kept. The post is published, so a bad result does not fail the task."""
    kept = PublishResult.storable(result, **more_detail)
    if secrets is not NO_SECRETS:
        kept = PublishResult(
            provider_post_id=secrets.hide_in(kept.provider_post_id),
            publish_url=secrets.hide_in(kept.publish_url),
            detail=secrets.hide_in(kept.detail),
        )
    if UNPRINTABLE not in kept.detail and CUT not in kept.detail:
        return kept
    for mark, event in ((UNPRINTABLE, "publish.result_refused"), (CUT, "publish.result_cut")):
        if mark in kept.detail:
            log.warning(event, task_id=job.task_id, platform=job.platform.name, what=kept.detail[mark])
    return kept


def _lease_ended(state: AttemptState) -> HandBackError:
    """The error for a task that another worker may have: this one was frozen, or cut off from Redis."""
    log.warning("attempt.lease_ended", task_id=state.task_id, attempt=state.number)
    return HandBackError(0.0)


def _check_refusal(state: AttemptState) -> None:
    if state.refusal is not None:
        raise PublishFailedError(TaskStatus.FAILED, ErrorClass.INVALID, state.refusal, attempted=False)
