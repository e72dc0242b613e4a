"""The worker's side of a cell: a child process that runs attempts, and whose death ends nothing else."""

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from typing import Self

import msgspec

from everpost.children import Child
from everpost.publishing import NotFound, PublishError, PublishJob, PublishResult, errors
from everpost_workers.cells.accounts import AccountDesk, sent_account
from everpost_workers.cells.frames import (
    Answer,
    Asked,
    Call,
    FrameLine,
    Keep,
    Kept,
    Missing,
    Raised,
    Ready,
    Report,
    Returned,
    Said,
    Shown,
    Stop,
    Verb,
)
from everpost_workers.cells.handover import VARIABLE

START_S = 30.0
OBEYS_S = 2.0  # how long a stopped call may take to end before its process is killed
LEAVES_S = 5.0  # how long a process may take to end


class CellDiedError(Exception):
    """The process died while it ran this attempt, so it is not known how far the attempt came."""


class CellUnavailableError(Exception):
    """No cell can be started."""


class Cell:
    """One cell process. It serves many calls at a time.

    Attributes:
        begun: The number of calls it was given so far.
    """

    def __init__(self, child: Child, line: FrameLine) -> None:
        self.begun = 0
        self._child = child
        self._line = line
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._jobs: dict[int, PublishJob] = {}
        self._keeping: set[asyncio.Task[None]] = set()
        self._desks: dict[int, AccountDesk] = {}
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())
        self._ready = asyncio.Event()
        threading.Thread(target=self._watch, args=(asyncio.get_running_loop(),), name="cell", daemon=True).start()

    @classmethod
    async def start(cls) -> Self:
        """Start the worker's program again with the same arguments, so that the cell has the same publishers.

        Raises:
            CellUnavailableError: The process does not start.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                child = Child(sys.orig_argv, env={VARIABLE: str(theirs.fileno())}, pass_fds=[theirs.fileno()])
            except OSError as error:
                ours.close()
                raise CellUnavailableError(str(error)) from error
        cell = cls(child, await FrameLine.on(ours))
        try:
            await cell._wait_until_ready()
        except BaseException:
            cell.kill()
            raise
        return cell

    async def _wait_until_ready(self) -> None:
        ready = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait((ready, self._end), timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        if ready.cancel():
            raise CellUnavailableError(self._end.result() if self._end.done() else f"silent for {START_S:g} s")

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """Whether it accepts calls."""
        return not self._end.done()

    @property
    def calls(self) -> int:
        """The number of running calls."""
        return len(self._answers)

    async def call(self, verb: Verb, job: PublishJob) -> PublishResult | NotFound:
        """Call the publisher of the job's platform; its reports go to `job.trace`, its checkpoints to `job.keeper`.

        If the caller is cancelled, the call is cancelled too. If the publisher ignores that, the process is killed.

        Raises:
            CellDiedError: The process died.
            BaseException: What the publisher raised, or a stand-in with the same name.
        """
        self.begun += 1
        number = self.begun
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        self._jobs[number] = job
        desk = self._desks[number] = AccountDesk(job.account, self._line.write)
        self._line.write(
            Call(
                number=number,
                verb=verb,
                task_id=job.task_id,
                data=msgspec.json.encode(job.data),
                platform=job.platform.name,
                attempt=job.attempt,
                idempotency_key=job.idempotency_key,
                saved=msgspec.json.encode(job.saved),
                files=job.files,
                account=sent_account(job.account),
                trace_context=dict(job.trace_context),
            )
        )
        try:
            return meaning_of(await self._answer_to(number, future))
        finally:
            del self._answers[number], self._jobs[number], self._desks[number]
            await asyncio.shield(asyncio.ensure_future(desk.close()))

    async def _answer_to(self, number: int, future: "asyncio.Future[Answer]") -> Answer:
        try:
            await asyncio.wait((future, self._end), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._line.write(Stop(number))
            try:
                await asyncio.wait((future, self._end), timeout=OBEYS_S, return_when=asyncio.FIRST_COMPLETED)
            finally:  # also if it is cancelled again
                if not future.done():
                    self.kill()
            if not future.done():
                raise
            if isinstance(future.result(), Raised):
                raise
        if future.done():
            return future.result()
        raise CellDiedError(self._end.result())

    async def _read(self) -> None:
        while (report := await self._line.read_report()) is not None:
            self._note(report)

    def _note(self, report: Report) -> None:
        if isinstance(report, Ready):
            self._ready.set()
        elif isinstance(report, Answer):
            if (future := self._answers.get(report.number)) is not None and not future.done():
                future.set_result(report)
        elif (job := self._jobs.get(report.number)) is not None:
            self._take(report, job)

    def _take(self, report: Said | Shown | Keep | Asked, job: PublishJob) -> None:
        """Take what a running call says or asks."""
        if isinstance(report, Said):
            job.trace.phase, job.trace.bytes_sent = report.phase, report.bytes_sent
            job.trace.last_words = report.last_words
        elif isinstance(report, Shown):
            job.keeper.show(report.done, report.total)
        elif isinstance(report, Asked):
            self._desks[report.number].take(report)
        else:
            keeping = asyncio.create_task(self._keep(job, report))
            self._keeping.add(keeping)
            keeping.add_done_callback(self._keeping.discard)

    async def _keep(self, job: PublishJob, asked: Keep) -> None:
        """Save a checkpoint for the call. Its checkpoints are saved and answered in their order."""
        refusal = None
        try:
            await job.keeper.keep(asked.checkpoint)
        except Exception as error:  # noqa: BLE001 - the cell waits for an answer
            refusal = str(error)
        else:
            msgspec.structs.force_setattr(job, "saved", msgspec.json.decode(asked.checkpoint))
        self._line.write(Kept(asked.number, refusal))

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the process in a thread; the socket is no sign, because a publisher's own child may keep it open."""
        code = self._child.process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._on_exit, code)

    def _on_exit(self, code: int) -> None:
        asyncio.get_running_loop().create_task(self._end_with(_described(code)))

    async def _end_with(self, how: str) -> None:
        """Read the answers it sent before its end."""
        await asyncio.wait((self._reading,), timeout=1)
        self._reading.cancel()
        for keeping in self._keeping:
            keeping.cancel()
        if not self._end.done():
            self._end.set_result(how)
        self._line.close()

    def kill(self) -> None:
        """Send SIGKILL; its calls end with `CellDiedError`."""
        with contextlib.suppress(ProcessLookupError):
            self._child.process.kill()

    def hang_up(self) -> None:
        """Tell it to end."""
        self._line.close()

    async def close(self) -> None:
        """Let it end, or kill it; its calls end."""
        self.hang_up()
        await asyncio.wait((self._end,), timeout=LEAVES_S)
        if not self._end.done():
            self.kill()
            await self._end


def meaning_of(answer: Answer) -> PublishResult | NotFound:
    """The result of a call.

    Raises:
        BaseException: What the call raised.
    """
    if isinstance(answer, Returned):
        detail = msgspec.json.decode(answer.detail)
        return PublishResult(provider_post_id=answer.provider_post_id, publish_url=answer.publish_url, detail=detail)
    if isinstance(answer, Missing):
        return answer.verdict
    raise error_of(answer)


def error_of(answer: Raised) -> Exception:
    """The exception a publisher raised in its cell: of the same `PublishError` class, or a stand-in of its name."""
    if answer.publish_error is not None:
        kind: type[PublishError] = getattr(errors, answer.publish_error)
        error: Exception = kind(answer.message, retry_after_s=answer.retry_after_s)
    else:
        error = type(answer.name, (Exception,), {})(answer.message)
    error.add_note(answer.trace)
    return error


def _described(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"
