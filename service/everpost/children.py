"""Processes Everpost starts itself: they outlive neither a Ctrl-C handled in order nor a killed parent."""

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
    """What a new child calls first: one function of libc, looked up before the fork."""
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - 0.7 MB, and most processes start no child

    return partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """A child process in a session of its own, so that a terminal's Ctrl-C reaches the parent alone."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        output: IO[bytes] | int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """`output` takes what it prints, standard error included; None lets it through."""
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
        """How it ended; None while it runs."""
        return self.process.poll()

    async def wait(self) -> int:
        """Wait until it has ended; its exit code."""
        return await asyncio.to_thread(self.process.wait)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Kill it if the block, which waits until it does its work, ends with an error."""
        try:
            yield
        except BaseException:
            self.kill()
            raise

    async def stop(self, grace_s: float = 30) -> int:
        """SIGTERM, and SIGKILL after `grace_s` seconds; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return await asyncio.to_thread(self.process.wait, grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return await self.wait()

    def kill(self) -> None:
        """SIGKILL, at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Do what Ctrl-C does at this moment: while asyncio runs, it cancels the main task.

    An exception would be raised wherever the process is, and be lost where that is a function called after a fork.
    """
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    if not callable(on_ctrl_c):  # ignored, as in the background of a script
        raise KeyboardInterrupt
    on_ctrl_c(number, frame)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP interrupt this process as Ctrl-C does, so that nothing it made or started is left behind."""
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


async def wait_for_log(path: Path, text: bytes, child: Child, timeout_s: float) -> None:
    """Wait until `child` has written `text` into its log; one that nobody waits for any more is killed.

    Raises:
        TimeoutError: It has not, within `timeout_s` seconds, or it has ended before; the log's end is in the message.
    """
    deadline = time.monotonic() + timeout_s
    with child.starting():
        while text not in (log := path.read_bytes()):  # noqa: ASYNC240 - a few lines of a file just written
            if child.exit_code is not None or time.monotonic() > deadline:
                raise TimeoutError(f"{path} never said {text.decode()!r}: {log[-2000:].decode(errors='replace')}")
            await asyncio.sleep(0.005)
