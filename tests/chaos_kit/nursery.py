"""Starts Everpost's processes in a tenth of the time: each is a fork of a process that has loaded their modules.

    python -m chaos_kit.nursery FD

After the fork, a process gets its own session, files, environment and arguments, and runs its module as `python -m`
does. It can be killed, frozen and limited like any other.
"""

import atexit
import gc
import importlib
import os
import queue
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

import msgspec

from everpost.children import Child, _dying_with_parent
from stores import ADDRESSES

LOADED = (
    "everpost.app",
    "everpost.cli.processes",
    *(f"everpost.store.{kind}.store" for kind in ADDRESSES),
    "everpost.testing",
    "everpost_workers.main",
)
MOST_BYTES = 1 << 17  # of one message
TESTS = Path(__file__).parent.parent


class Birth(msgspec.Struct):
    """A process to be started; the message has its output file with it."""

    arguments: Sequence[str]
    environment: Mapping[str, str]


class End(msgspec.Struct):
    """A process has begun, if `code` is None, or has ended."""

    pid: int
    code: int | None = None


class Forked(subprocess.Popen[bytes]):
    """A process of the nursery, as `Child` uses a process."""

    _child_created = False  # by this process

    def __init__(self, pid: int, ended: threading.Condition) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """Its exit code, or None."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended."""
        with self._ended:
            self._ended.wait_for(lambda: self.returncode is not None, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0)
        return self.returncode


class ForkedChild(Child):
    """A child process that the nursery has started."""

    def __init__(self, process: Forked) -> None:
        self.process = process


class Nursery:
    """The process that forks, as the tests see it."""

    def __init__(self) -> None:
        self._ended = threading.Condition()
        self._living: dict[int, Forked] = {}  # by pid, which the system gives again to a later process
        self._begun: queue.SimpleQueue[Forked] = queue.SimpleQueue()
        self._port, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos_kit.nursery", str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C ends the tests first
        )
        theirs.close()
        threading.Thread(target=self._listen, daemon=True).start()
        atexit.register(self.close)

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], output: IO[bytes]) -> ForkedChild:
        """Start `python -m` with these arguments."""
        message = msgspec.json.encode(Birth(arguments, environment))
        socket.send_fds(self._port, [message], [output.fileno()])
        return ForkedChild(self._begun.get())

    def _listen(self) -> None:
        while message := self._port.recv(MOST_BYTES):
            news = msgspec.json.decode(message, type=End)
            if news.code is None:
                self._living[news.pid] = Forked(news.pid, self._ended)
                self._begun.put(self._living[news.pid])
                continue
            with self._ended:
                self._living.pop(news.pid).returncode = news.code
                self._ended.notify_all()

    def close(self) -> None:
        """End the nursery, and with it what it has started."""
        self._port.shutdown(socket.SHUT_RDWR)
        self._process.wait()
        self._port.close()


@cache
def nursery() -> Nursery:
    """The nursery of this test process."""
    return Nursery()


def serve(port: socket.socket) -> Birth | None:
    """Fork for each message, and report ends. Returns in each new process, and with None when the tests have ended."""
    alarm, bell = socket.socketpair()
    bell.settimeout(0)
    signal.set_wakeup_fd(bell.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([port, alarm], [], [])
        if alarm in ready:
            alarm.recv(MOST_BYTES)
            report_ends(port)
        if port in ready:
            message, files, _, _ = socket.recv_fds(port, MOST_BYTES, 1)
            if not message:
                return None
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (port, alarm, bell):
                    each.close()
                return set_up(msgspec.json.decode(message, type=Birth), files[0])
            os.close(files[0])
            port.send(msgspec.json.encode(End(pid)))


def report_ends(port: socket.socket) -> None:
    """Report every process that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        port.send(msgspec.json.encode(End(pid, os.waitstatus_to_exitcode(status))))


def set_up(birth: Birth, output: int) -> Birth:
    """Set this new process up like one that was started by itself."""
    die_with_parent = _dying_with_parent()
    if die_with_parent is not None:
        die_with_parent()
    os.setsid()
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.environ.clear()
    os.environ.update(birth.environment)
    time.tzset()
    return birth


def main() -> None:
    """Serve; in a new process, run its module."""
    port = socket.socket(fileno=int(sys.argv[1]))
    for module in LOADED:
        importlib.import_module(module)
    gc.freeze()  # a collection would copy the memory that the processes share
    birth = serve(port)
    if birth is not None:
        sys.argv = list(birth.arguments)
        sys.orig_argv = [sys.executable, "-m", *birth.arguments]
        runpy.run_module(birth.arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
