"""The look-up and the record that come before an attempt sends its first byte (I6)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import structlog

from everpost.clock import BootClock, Clock
from everpost.errors import Unavailable
from everpost.publishing import OutcomeUnknownError, Publisher, PublishJob, PublishResult
from everpost.running_time import read_mark
from everpost.store import Store
from everpost.store.meta import CLOCK
from everpost.task.key_age import Present, age_of_oldest
from everpost.task.model import HELD
from everpost_workers.attempts.attempt import AttemptState
from everpost_workers.attempts.unknown import (
    CannotRepeatError,
    Recourse,
    find_earlier_post,
    has_mortal_key,
    keeps_intents,
    recourse_of,
)
from everpost_workers.engine import Backoff

log = structlog.get_logger("everpost.worker")

Written = TypeVar("Written")


class Intents:
    """The intents of one worker's attempts."""

    def __init__(self, store: Store, clock: Clock, boot_clock: BootClock) -> None:
        self._ledger = store.ledger
        self._meta = store.meta
        self._clock = clock
        self._boot_clock = boot_clock

    async def find_earlier_post(
        self, publisher: Publisher, job: PublishJob, state: AttemptState
    ) -> PublishResult | None:
        """The post that an earlier attempt of unknown outcome made; None if the task may be sent now.

        Raises:
            CannotRepeatError: It may not be sent.
        """
        recourse = recourse_of(publisher, await self._age_of_key(state) if has_mortal_key(publisher) else None)
        found = await find_earlier_post(publisher, job, state.earlier.open, recourse)
        if recourse is Recourse.LOOK_UP:
            state.earlier = msgspec.structs.replace(state.earlier, open=(), may_be_sent=False)
        return found

    async def _age_of_key(self, state: AttemptState) -> float | None:
        mark = read_mark(await persist(lambda: self._meta.get(CLOCK)))
        seen_ms = None if mark is None else mark.highest_ms
        present = Present(wall_ms=self._clock(), since_boot=self._boot_clock(), seen_ms=seen_ms)
        return age_of_oldest(state.earlier.open, present)

    async def write(self, publisher: Publisher, job: PublishJob, state: AttemptState) -> None:
        """Record that the attempt is about to send; for publishers of which `keeps_intents` is true.

        This replaces the intent that the claim found; its outcome has been looked up.

        Raises:
            OutcomeUnknownError: The ledger has the intent of another attempt.
            CancelledError: The worker is stopping. Nothing is sent, and this attempt leaves no intent.
        """
        facts = state.facts
        if facts is None:
            return
        if has_mortal_key(publisher):
            state.since_boot = self._boot_clock()
        earlier = facts.sending or None  # HELD is not an attempt's number
        now_ms = self._clock()  # of every try: a repeated intent is known by it
        intent = asyncio.ensure_future(persist(lambda: self._begin(job, state, earlier, now_ms)))
        try:
            begun = await asyncio.shield(intent)
        except asyncio.CancelledError:
            if await intent:  # written, but nothing will be sent: take it back for the next attempt
                await self._ledger.cancel_send(job.task_id, state.number, self._clock())
            raise
        if not begun and facts.sending == HELD:
            raise CannotRepeatError("It was unfinished in a backup that was restored, and may have been sent since.")
        if not begun:
            raise OutcomeUnknownError("An earlier attempt began to send and never reported how it ended.")

    async def take_back(self, publisher: Publisher, job: PublishJob, state: AttemptState) -> None:
        """Remove the intent of this attempt, which sends nothing after all; another attempt's intent stays."""
        if keeps_intents(publisher) and state.facts is not None:
            await persist(lambda: self._ledger.cancel_send(job.task_id, state.number, self._clock()))

    async def _begin(self, job: PublishJob, state: AttemptState, earlier: int | None, now_ms: int) -> bool:
        return await self._ledger.begin_send(job.task_id, state.number, now_ms, earlier, since_boot=state.since_boot)


async def persist(write: Callable[[], Awaitable[Written]]) -> Written:
    """Call `write` until the database accepts it. The job is held meanwhile, so nothing is lost."""
    backoff = Backoff(0.1, 5)
    while True:
        try:
            return await write()
        except Unavailable as error:
            log.warning("ledger.waits", error=error.message)
            await asyncio.sleep(backoff.next_s())
