"""A worker in its own process, whose publisher writes one line into a file for each accepted post.

    python -m chaos_kit.effects_worker EFFECTS CLASS DELAY_MS

The line is fsynced half of DELAY_MS after the call began, and the publisher answers after the other half. So a worker
killed in between leaves an effect without an outcome. While the file EFFECTS.closed exists, the platform refuses posts.
While EFFECTS.refused has the name of an error class, it refuses the account so. While EFFECTS.held exists, it accepts
posts but does not answer yet. After it has answered "not found" for a post, it no longer accepts what a worker began to
send before that, nor what an earlier attempt sends: docs/publishers.md allows this answer only then. Its keys last for
ever, or for KEY_LIFETIME_S seconds.

With the variable CHECKPOINTS, each attempt first saves a number higher than the last one saved. The file
EFFECTS.forgotten gets a line for each attempt that was given an older checkpoint than one that was saved.

With the variable SPANS, the file EFFECTS.spans gets a line when an attempt begins, and another one when it ends.
"""

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop

from everpost.failpoints import failpoint
from everpost.logs import configure_logging
from everpost.publishing import (
    AccountBlockedError,
    AuthError,
    NeedsPersonError,
    NotFound,
    PermanentError,
    Publisher,
    PublisherClass,
    PublishJob,
    PublishResult,
)
from everpost.settings import read_settings
from everpost.testing import eventually
from everpost_workers.main import create_worker


async def hang() -> None:
    await asyncio.Event().wait()


async def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def allocate() -> None:
    """Take memory until there is none left."""
    taken = []
    while True:
        taken.append(bytearray(1 << 24))


REFUSALS = {error.error_class.value: error for error in (AccountBlockedError, AuthError, NeedsPersonError)}
MISBEHAVIOUR = {"hangs": hang, "dies": die, "allocates": allocate}


class Effect(msgspec.Struct, frozen=True):
    """A line of the file: the platform accepted a post."""

    task_id: str
    key: str


class Denial(msgspec.Struct, frozen=True):
    """A line of the file of denials: the platform answered an attempt's look-up "not found"."""

    key: str
    task_id: str
    attempt: int


def gate_of(effects: Path) -> Path:
    """The file that closes the platform."""
    return effects.with_name(f"{effects.name}.closed")


def refusal_of(effects: Path) -> Path:
    """The file with the error class of which the platform refuses posts."""
    return effects.with_name(f"{effects.name}.refused")


def hold_of(effects: Path) -> Path:
    """The file that holds the platform's answers back."""
    return effects.with_name(f"{effects.name}.held")


def forgotten_of(effects: Path) -> Path:
    """The file that names the tasks whose last checkpoint was not given to the next attempt."""
    return effects.with_name(f"{effects.name}.forgotten")


def answered_of(effects: Path) -> Path:
    """The file that grows by a byte with each answer of the platform."""
    return effects.with_name(f"{effects.name}.answered")


class SpanMark(msgspec.Struct, frozen=True):
    """A line of the file of spans: an attempt of a worker's process began or ended, by the host's monotonic clock."""

    at_s: float
    pid: int
    key: str
    platform: str
    account_id: str
    begins: bool


def spans_of(effects: Path) -> Path:
    """The file of spans."""
    return effects.with_name(f"{effects.name}.spans")


class EffectsPublisher(Publisher):
    """A platform that is a file."""

    def __init__(self, effects: Path, publisher_class: PublisherClass, delay_s: float) -> None:
        self.publisher_class = publisher_class
        self._effects = effects
        self._gate, self._hold, self._refusal = gate_of(effects), hold_of(effects), refusal_of(effects)
        self._turns, self._denied = (effects.with_name(f"{effects.name}.{name}") for name in ("turns", "denied"))
        self._denied.touch()
        self._delay_s = delay_s
        self._forgotten = forgotten_of(effects)
        self._saved = effects.with_name(f"{effects.name}.saved") if "CHECKPOINTS" in os.environ else None
        self._spans = None
        if "SPANS" in os.environ:
            self._spans = os.open(spans_of(effects), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._file, self._answered = (
            os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) for path in (effects, answered_of(effects))
        )

    async def publish(self, job: PublishJob) -> PublishResult:
        """Accept the post, or refuse it while the platform is closed, unless the post says what to do."""
        if self._spans is None:
            return await self._publish(job)
        self._mark(self._spans, job, begins=True)
        try:
            return await self._publish(job)
        finally:
            self._mark(self._spans, job, begins=False)

    def _mark(self, spans: int, job: PublishJob, *, begins: bool) -> None:
        account_id = str(job.data["account_id"])
        key = f"{job.task_id}.{job.attempt}"
        mark = SpanMark(time.monotonic(), os.getpid(), key, job.platform.name, account_id, begins)
        os.write(spans, msgspec.json.encode(mark) + b"\n")

    async def _publish(self, job: PublishJob) -> PublishResult:
        if misbehave := MISBEHAVIOUR.get(job.data.get("misbehaviour", "")):
            await misbehave()
        known = len(self._denials_of(job))
        if self._saved is not None:
            await self._save(job, self._saved)
        await asyncio.sleep(self._delay_s / 2)
        if self._gate.exists():
            raise PermanentError("The platform is closed.")
        if self._refusal.exists():
            raise REFUSALS[self._refusal.read_text()]("The platform refuses the account.")
        failpoint("send.amid")
        with self._turn():
            if self._is_denied(job, known):
                raise PermanentError("Somebody was told since that there is no such post.")
            os.write(self._file, msgspec.json.encode(Effect(job.task_id, job.idempotency_key)) + b"\n")
        await asyncio.to_thread(os.fsync, self._file)
        failpoint("send.accepted")
        await asyncio.sleep(self._delay_s / 2)
        await eventually(self._is_let_go, what="the end of the hold")
        os.write(self._answered, b".")
        return PublishResult(provider_post_id=job.task_id)

    async def _save(self, job: PublishJob, folder: Path) -> None:
        folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - it is quick
        given = job.saved or 0
        is_older = any((folder / f"{job.task_id}.{number}").exists() for number in range(given + 1, given + 10))
        await job.checkpoint(given + 1)  # it is refused if another attempt has begun since
        if is_older:
            with self._forgotten.open("a") as forgotten:
                forgotten.write(f"{job.task_id}\n")
        (folder / f"{job.task_id}.{given + 1}").touch()

    async def _is_let_go(self) -> bool:
        return not self._hold.exists()

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Find an accepted post by its key."""
        with self._turn():
            lines = self._effects.read_bytes().splitlines()
            if job.idempotency_key in {msgspec.json.decode(line, type=Effect).key for line in lines}:
                return PublishResult(provider_post_id=job.task_id)
            with self._denied.open("ab") as denied:
                denied.write(msgspec.json.encode(Denial(job.idempotency_key, job.task_id, job.attempt)) + b"\n")
        return NotFound.NOT_FOUND

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Keep other workers from posting or asking meanwhile."""
        with self._turns.open("a") as turns:
            fcntl.flock(turns, fcntl.LOCK_EX)
            yield

    def _is_denied(self, job: PublishJob, known: int) -> bool:
        """Whether a look-up was answered since the call began, or for a later attempt before it began.

        The worker may have been frozen just before its call.
        """
        denials = self._denials_of(job)
        return len(denials) > known or any(
            each.task_id == job.task_id and each.attempt > job.attempt for each in denials
        )

    def _denials_of(self, job: PublishJob) -> list[Denial]:
        denials = (msgspec.json.decode(line, type=Denial) for line in self._denied.read_bytes().splitlines())
        return [each for each in denials if each.key == job.idempotency_key]


def main() -> None:
    effects, publisher_class, delay_ms = sys.argv[1:]
    publisher = EffectsPublisher(Path(effects), PublisherClass(publisher_class), float(delay_ms) / 1000)
    if lifetime_s := os.environ.get("KEY_LIFETIME_S"):
        publisher.key_lifetime_s = float(lifetime_s)
    settings = read_settings(os.environ)
    configure_logging(settings)
    asyncio.set_event_loop(uvloop.new_event_loop())
    create_worker(settings, publishers={"folder": publisher}).run()


if __name__ == "__main__":
    main()
