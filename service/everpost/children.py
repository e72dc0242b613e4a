"""Processes that Everpost starts. They end with their parent, even if the parent is killed."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import IO

PR_SET_PDEATHSIG = 1


@cache
def _dying_with_parent() -> Callable[[], object] | None:
    """The first call in a new child: a function of libc, looked up before the fork."""
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - it takes 0.7 MB, and most processes start no child

    return partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """A child process in its own session, so that a terminal's Ctrl-C reaches only the parent."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        output: IO[bytes] | int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """`output` receives what the child prints, standard error included; None passes it through."""
        self.process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
            list(argv),
            env=None if env is None else {**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            start_new_session=True,
            pass_fds=pass_fds,
            preexec_fn=_dying_with_parent(),  # noqa: PLW1509 - see there
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self.process.poll()

    async def wait(self) -> int:
        """Wait until it has ended, and return its exit code."""
        return await asyncio.to_thread(self.process.wait)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Kill the child if the block, which waits for it to start up, ends with an error."""
        try:
            yield
        except BaseException:
            self.kill()
            raise

    async def stop(self, grace_s: float = 30) -> int:
        """Send SIGTERM, and SIGKILL after `grace_s` seconds; return the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return await asyncio.to_thread(self.process.wait, grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return await self.wait()

    def kill(self) -> None:
        """Send SIGKILL at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Do what Ctrl-C does now: while asyncio runs, it cancels the main task.

    Raising an exception here would not do: it would be lost if it hit a function that runs after a fork.
    """
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    if not callable(on_ctrl_c):  # SIGINT is ignored, for example in the background of a script
        raise KeyboardInterrupt
    on_ctrl_c(number, frame)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP interrupt this process as Ctrl-C does, so that it cleans up files and children."""
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


async def wait_for_log(path: Path, text: bytes, child: Child, timeout_s: float) -> None:
    """Wait until `child` has written `text` into its log. If the wait fails or is cancelled, the child is killed.

    Raises:
        TimeoutError: The text did not appear within `timeout_s` seconds, or the child ended before; the message has the
            end of the log.
    """
    deadline = time.monotonic() + timeout_s
    with child.starting():
        while True:
            code = child.exit_code  # it may write until it ends, so its log is read after this
            log = path.read_bytes()  # noqa: ASYNC240 - a few lines of a file just written
            if text in log:
                return
            if code is not None or time.monotonic() > deadline:
                state = "still running" if code is None else f"ended with {code}"
                said = log[-2000:].decode(errors="replace")
                raise TimeoutError(f"{path} never said {text.decode()!r}, process {child.pid} {state}: {said}")
            await asyncio.sleep(0.005)
