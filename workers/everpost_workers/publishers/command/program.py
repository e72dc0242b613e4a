"""Runs one program under its guard: feeds it, reads its lines, and waits until all of it has ended."""

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

GUARD = Path(__file__).with_name("guard.py")
LONGEST_LINE = 262_144  # bytes: a checkpoint has 64 KB, and JSON may escape each character
TAIL_BYTES = 4_096  # kept of standard error
CHUNK_BYTES = 65_536
GUARD_S = 15.0  # beyond the grace: the guard ends by itself before
PASSING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY})
DRAIN_S = 2.0  # for output that is still in a pipe after the end


class OutputError(Exception):
    """The program's output is not bearable: too much of it, or a line that is too long."""


class NotStartedError(Exception):
    """The system cannot start the program.

    Attributes:
        may_pass: Something ran out that may be there again later.
    """

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.may_pass = number in PASSING


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What to start.

    Attributes:
        environment: All its variables.
        folder: Its working folder, which its guard removes.
        request: The line for its standard input.
        memory_bytes: The limit; 0 is no limit.
        most_output_bytes: Of standard output, and of standard error.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    request: bytes
    grace_s: float
    memory_bytes: int
    most_output_bytes: int


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended.

    Attributes:
        code: Its exit code; None if a signal ended it.
        signal: That signal.
        cut_off: Why it was ended before it ended by itself.
        outlived: The number of processes it left behind, which were killed.
        errors: The end of its standard error.
    """

    code: int | None = None
    signal: int | None = None
    cut_off: str | None = None
    outlived: int = 0
    errors: bytes = b""


class Acknowledgements:
    """Answers to checkpoints. The program reads them from a pipe, if it wants to."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        os.set_blocking(pipe, False)

    def send(self, line: bytes) -> None:
        """Write a line. A program that reads none loses them when the pipe is full; a dead one loses all."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._pipe, line)


_ending: set[asyncio.Task[None]] = set()

Listener = Callable[[bytes, Acknowledgements], Awaitable[None]]


async def run_program(launch: Launch, listen: Listener) -> Ended:
    """Run it, and return when it and all that it started have ended, also if this is cancelled.

    Args:
        listen: Called with each line of its output, in order.

    Raises:
        NotStartedError: It cannot be started.
        OutputError: Its output is too much; it was ended.
        BaseException: What `listen` raised; it was ended.
    """
    with contextlib.ExitStack() as closing:
        try:
            process, control, pipe = await _start_guard(launch, closing)
        except BaseException as error:
            shutil.rmtree(launch.folder, ignore_errors=True)  # no guard does
            if isinstance(error, OSError):
                raise NotStartedError(error.errno or errno.EIO) from error
            raise
        reader, writer = await asyncio.open_unix_connection(sock=control)
        running = _Running(process, reader, launch, listen, Acknowledgements(pipe))
        try:
            return await running.follow()
        finally:
            writer.write_eof()  # the guard ends the program now, if it has not ended
            end = asyncio.create_task(running.wait_for_end())
            _ending.add(end)  # it goes on if this is cancelled a second time
            end.add_done_callback(_ending.discard)
            end.add_done_callback(lambda _: writer.close())
            await asyncio.shield(end)


async def _start_guard(launch: Launch, closing: contextlib.ExitStack) -> tuple[Process, socket.socket, int]:
    """The guard's process, this end of its control, and the pipe for acknowledgements, which `closing` closes.

    Raises:
        OSError: It cannot be started.
    """
    with contextlib.ExitStack() as failing:
        control, theirs = socket.socketpair()
        for end in (control, theirs):
            failing.callback(end.close)
        answers, pipe = os.pipe()
        closing.callback(os.close, pipe)
        try:
            process = await _execute_guard(launch, theirs.fileno(), answers, pipe)
        finally:
            theirs.close()
            os.close(answers)
        failing.pop_all()
    return process, control, pipe


async def _execute_guard(launch: Launch, control: int, answers: int, pipe: int) -> Process:
    numbers = (control, answers, pipe, os.getpid(), launch.grace_s, launch.memory_bytes)
    arguments = (*map(str, numbers), str(launch.folder), *launch.argv)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(GUARD), *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=dict(launch.environment),
        cwd=launch.folder,
        pass_fds=(control, answers, pipe),
        start_new_session=True,
        limit=LONGEST_LINE,
    )


class _Running:
    """A program that runs, and the tasks that serve its pipes."""

    def __init__(
        self,
        process: Process,
        control: asyncio.StreamReader,
        launch: Launch,
        listen: Listener,
        acknowledgements: Acknowledgements,
    ) -> None:
        self._process = process
        self._control = control
        self._launch = launch
        self._listen = listen
        self._acknowledgements = acknowledgements
        self._pid: int | None = None
        self._errors = bytearray()
        self._end = asyncio.create_task(self._read_reports())
        self._pipes = [asyncio.create_task(work) for work in (self._read_lines(), self._read_errors())]
        self._feeding = asyncio.create_task(self._feed())

    async def follow(self) -> Ended:
        """Serve the pipes until the program has ended."""
        working = {self._end, *self._pipes}
        while not self._end.done():
            done, working = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        await asyncio.wait(self._pipes, timeout=DRAIN_S)
        for task in self._pipes:
            if task.done():
                task.result()
        report = self._end.result()
        if "not_started" in report:
            raise NotStartedError(int(report["not_started"]))
        if "outlived" not in report:
            return Ended(cut_off="its guard was killed", errors=bytes(self._errors))
        return msgspec.convert({**report, "errors": bytes(self._errors)}, Ended)

    async def wait_for_end(self) -> None:
        """Wait until guard and program have ended; a guard that does not end is killed, and the program with it."""
        serving = (self._feeding, *self._pipes)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.wait((self._end,), timeout=self._launch.grace_s + GUARD_S)
        if not self._end.done() or "outlived" not in self._end.result():  # the guard hangs, or was killed
            self._clean_up()
        process = self._process
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await asyncio.gather(_drain(process.stdout), _drain(process.stderr), process.wait())

    def _clean_up(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
        shutil.rmtree(self._launch.folder, ignore_errors=True)

    async def _feed(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None, "it is a pipe"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it does not read, or has ended
            stdin.write(self._launch.request)
            await stdin.drain()
        stdin.close()

    async def _read_lines(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None, "it is a pipe"
        left = self._launch.most_output_bytes
        while True:
            try:
                line = await stdout.readuntil(b"\n")
            except asyncio.IncompleteReadError as last:
                line = last.partial
            except asyncio.LimitOverrunError as error:
                raise OutputError(f"a line of its output has more than {LONGEST_LINE:,} bytes") from error
            left -= len(line)
            if left < 0:
                raise OutputError(f"its output has more than {self._launch.most_output_bytes:,} bytes")
            if not line:
                return
            await self._listen(line, self._acknowledgements)

    async def _read_errors(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None, "it is a pipe"
        left = self._launch.most_output_bytes
        while chunk := await stderr.read(CHUNK_BYTES):
            self._errors += chunk
            del self._errors[:-TAIL_BYTES]
            left -= len(chunk)
            if left < 0:
                raise OutputError(f"its standard error has more than {self._launch.most_output_bytes:,} bytes")

    async def _read_reports(self) -> dict[str, Any]:
        """The guard's last report. If it was killed, it is not about the end."""
        report: dict[str, Any] = {}
        while line := await self._control.readline():
            report = msgspec.json.decode(line)
            self._pid = report.get("pid", self._pid)
        return report


async def _drain(pipe: asyncio.StreamReader | None) -> None:
    """Read what is left: as long as something is, asyncio does not see that the process has ended."""
    while pipe is not None and await pipe.read(CHUNK_BYTES):
        pass
