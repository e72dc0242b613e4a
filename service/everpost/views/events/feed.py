"""The feed of this process: reads what happens to tasks once, and sends it to all readers that want it."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from itertools import compress
from typing import Protocol

import msgspec
import structlog

from everpost.clock import to_text
from everpost.errors import QueueUnreachable
from everpost.queue.event_log import Entry, EventLog, Heard
from everpost.queue.event_teller import Told
from everpost.views.events.details import AGAIN_S, KEPT_MS, EventDetails, concerns, may_have
from everpost.views.events.event import Event, EventType, sse
from everpost.views.events.past import MOST_AT_ONCE, Kept, Past
from everpost.views.events.position import read_position
from everpost.views.events.readers import Reader, Readers
from everpost.views.events.replays import Replays

log = structlog.get_logger("everpost.events")

HEAR_EVERY_S = 1.0
WAITERS_KEPT_MS = 30_000  # events are written for so long after the last caller that only waits for an end
IDLE_S = 10.0  # after its last reader the feed reads on for so long
BREATH = 250  # writes until other work gets its turn
KEEP_ALIVE_S = 15
KEEP_ALIVE = b": keep-alive\n\n"
AWAY = b": Redis does not answer; events come as soon as it does\n\n"


class ResetNotice(msgspec.Struct, frozen=True):
    """Something may have been missed: look the tasks up that matter."""

    reason: str
    at: str


class EndListener(Protocol):
    """Wants to know which tasks have ended."""

    def has_waiters(self) -> bool:
        """Whether a caller waits."""

    def on_ends(self, task_ids: Iterable[str]) -> None:
        """These tasks may have ended."""


class Feed:
    """Reads the stream while there are readers or waiters. Without them it costs nothing.

    Attributes:
        readers: Those that have all there was, and are sent what comes.
        is_live: Whether Redis answers, and everything comes that is told.
        lag_s: How old the last events were when they were sent, by the clock of Redis.
        sent: How many times events were sent to a reader; several at once count once.
        dropped: How many readers were disconnected because they read too slowly.
        resets: How often readers were told that they may have missed something.
    """

    def __init__(self, event_log: EventLog, details: EventDetails) -> None:
        self._log = event_log
        self._details = details
        self.readers = Readers()
        self.is_live = False
        self.lag_s = 0.0
        self.sent = self.resets = self.dropped = 0
        self._listener: EndListener | None = None
        self._joining: set[Reader] = set()
        self._past = Past(event_log)
        self._replays = Replays(self._past, details)
        self._ahead_ms = 0.0  # of the clock of Redis
        self._reading: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._went_live = asyncio.Event()
        self._turn = asyncio.Lock()  # held while something is sent to all, and while a reader is added
        self._owes_reset = False
        self._had_reader = False  # since the stream was kept the last time
        self._idle_since: float | None = None
        self.is_closed = False

    def listen(self, listener: EndListener) -> None:
        """Tell the listener of ends, before they are looked up."""
        self._listener = listener

    def start(self) -> None:
        """Begin to read, unless this process reads already: there is a reader or a waiter."""
        if self._reading is None and not self.is_closed:
            self._reading = asyncio.create_task(self._read(), name="events")

    async def join(self, reader: Reader, after: str | None) -> None:
        """Send the reader what it has missed since the event with the id `after`, and have it sent what comes.

        It returns when the reader has all there was. If that is not certain, the reader is sent a `reset`.
        """
        self._joining.add(reader)
        self._had_reader = True
        self.start()
        try:
            was_away = not await self._until_live(reader)
            await self._bring_up(reader, after, was_away=was_away)
        finally:
            self._joining.discard(reader)

    def leave(self, reader: Reader) -> None:
        """Send the reader nothing more."""
        self.readers.discard(reader)

    def release(self) -> None:
        """The service stops: end all streams now."""
        self.is_closed = True
        self._went_live.set()  # those that wait for it go on, and end
        for reader in [*self.readers, *self._joining]:
            reader.end()

    async def close(self) -> None:
        """Release all readers, and stop reading."""
        self.release()
        tasks = [task for task in (self._reading, self._beating) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # joining

    async def _until_live(self, reader: Reader) -> bool:
        """Wait until the feed reads; whether it did so at once."""
        is_first = True
        while not self.is_live and not self.is_closed:
            self._went_live.clear()
            try:
                async with asyncio.timeout(HEAR_EVERY_S if is_first else KEEP_ALIVE_S):
                    await self._went_live.wait()
            except TimeoutError:
                is_first = False
                reader.send(AWAY)
        return is_first

    async def _bring_up(self, reader: Reader, after: str | None, *, was_away: bool) -> None:
        known = None if after is None else read_position(after)
        missed: str | None = "too_old_or_lost"
        if after is None:
            missed = "redis_was_away" if was_away else None
        elif known is not None and await self._past.has_all_after(known):
            known = await self._replays.send_patiently(reader, known)
            missed = None
        async with self._turn:  # nothing is sent meanwhile
            if missed is None and after is not None:
                known = None if known is None else await self._replays.send(reader, known)
                missed = "too_old_or_lost" if known is None else None
            if missed is not None:
                self._tell_missed(reader, missed)
            elif after is None:
                reader.send(b": connected\nid: %b\n\n" % str(self._past.here).encode())
            if self.is_closed:
                reader.end()
            else:
                self.readers.add(reader)

    # reading

    async def _read(self) -> None:
        self._beating = asyncio.create_task(self._beat(), name="events keep-alive")
        wait_s = AGAIN_S[0]
        try:
            while not self._is_idle():
                try:
                    await self._follow()
                except QueueUnreachable as error:
                    if self.is_live:
                        log.warning("events.interrupted", error=error.message)
                    self.is_live = False
                    await asyncio.sleep(wait_s)
                    wait_s = min(2 * wait_s, AGAIN_S[1])
                except Exception:
                    self.is_live = False
                    log.exception("events.failed")
                    await asyncio.sleep(AGAIN_S[1])
                else:
                    wait_s = AGAIN_S[0]
        finally:
            self.is_live = False
            self._beating.cancel()
            await self._log.drop()
            self._past.forget()
            self._reading = None

    def _is_idle(self) -> bool:
        """Whether no reader and no waiter was there for `IDLE_S`."""
        now_s = asyncio.get_running_loop().time()
        if len(self.readers) or self._joining or (self._listener is not None and self._listener.has_waiters()):
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = now_s
        return now_s - self._idle_since > IDLE_S

    async def _follow(self) -> None:
        """Read new entries until `_is_idle`."""
        loop = asyncio.get_running_loop()
        await self._hear()
        hear_at_s = loop.time() + HEAR_EVERY_S
        while not self._is_idle():
            left_s = hear_at_s - loop.time()
            entries = await self._log.wait(self._past.last, MOST_AT_ONCE, round(left_s * 1000)) if left_s > 0 else []
            if entries:
                await self._take(entries)
            if loop.time() >= hear_at_s:
                await self._hear()
                hear_at_s = loop.time() + HEAR_EVERY_S

    async def _hear(self) -> None:
        """Keep the stream, and find out whether it is still the same one, with everything that comes next."""
        has_readers = self._had_reader or bool(len(self.readers) or self._joining)
        heard = await self._log.hear(KEPT_MS if has_readers else WAITERS_KEPT_MS)
        self._had_reader = False
        self._ahead_ms = heard.now_ms - loop_ms()
        if not self._past.goes_on_in(heard):
            await self._break(heard)
        if not self.is_live:
            self.is_live = True
            self._went_live.set()

    async def _break(self, heard: Heard) -> None:
        """Go on with another stream, or behind a gap."""
        async with self._turn:
            self._owes_reset = self._owes_reset or self._past.is_known
            await self._past.begin(heard)
            if self._owes_reset:
                log.warning("events.lost", readers=len(self.readers))
                for reader in list(self.readers):
                    self._tell_missed(reader, "lost")
            self._owes_reset = False

    async def _take(self, entries: Sequence[Entry]) -> None:
        """Send what has come."""
        if self._listener is not None:
            ended = [entry.task_ids for entry in entries if entry.kind == Told.ENDED]
            self._listener.on_ends(task_id for some in ended for task_id in some)
        numbers = [entry.number for entry in entries]
        if numbers != [*range(self._past.last + 1, self._past.last + 1 + len(numbers))]:
            await self._break(await self._log.hear(KEPT_MS))
            return
        async with self._turn:
            only: Collection[str] | None = None if self.readers.has_broad else self.readers.task_ids
            made = await self._made_for_readers(entries, only)
            self.lag_s = max(0.0, (loop_ms() + self._ahead_ms - entries[-1].at_ms) / 1000)
            for entry, events in zip(entries, made, strict=True):
                self._past.add(Kept(entry, events if only is None else None))
            sent = self.readers.texts_for([event for events in made for event in events or ()])
            self.sent += len(sent)
            for number, (reader, text) in enumerate(sent, 1):
                reader.send(text)
                if number % BREATH == 0:
                    await asyncio.sleep(0)

    async def _made_for_readers(
        self, entries: Sequence[Entry], only: Collection[str] | None
    ) -> list[list[Event] | None]:
        """The events of entries; None where no reader wants any."""
        types = self.readers.types
        needed = [may_have(entry, types) and (only is None or concerns(entry, only)) for entry in entries]
        chosen = [*compress(entries, needed)]
        made = iter(await self._details.events_in_time(chosen, self._past.tag, only) if chosen else ())
        return [next(made) if is_needed else None for is_needed in needed]

    # telling

    def _tell_missed(self, reader: Reader, reason: str) -> None:
        self.resets += 1
        at = to_text(round(loop_ms() + self._ahead_ms))
        reader.send(sse(EventType.RESET, str(self._past.here), ResetNotice(reason, at)))

    async def _beat(self) -> None:
        """Send each reader a sign of life now and then, not all at once: proxies close connections without any.

        Readers that are no longer admitted are sent away.
        """
        turn = 0
        while True:
            await asyncio.sleep(1.0)
            for reader in [one for one in self.readers if not one.is_admitted()]:
                reader.end()
            turn = (turn + 1) % KEEP_ALIVE_S
            for number, reader in enumerate(self.readers.of_turn(turn, KEEP_ALIVE_S), 1):
                reader.send(KEEP_ALIVE)
                if number % BREATH == 0:
                    await asyncio.sleep(0)


def loop_ms() -> float:
    """Milliseconds of the event loop's clock."""
    return asyncio.get_running_loop().time() * 1000
