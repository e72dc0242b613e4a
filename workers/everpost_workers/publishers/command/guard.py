"""The guard of one program: starts it, and ends it with everything it has started, also if the worker is killed.

It is a process between the worker and the program. It is started as `python -I -S guard.py`, so it imports only the
standard library. It ends the program when the worker closes its end of `control`, which a killed worker does too. It
adopts the processes that the program leaves behind (prctl(2), PR_SET_CHILD_SUBREAPER), so none of them outlives it.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
ACKNOWLEDGEMENTS = 3  # the program's file descriptor for answers to its checkpoints
HIGH = 64  # the guard's own descriptors begin here, so that none is in the way of `ACKNOWLEDGEMENTS`
OOM_SCORE = "1000"  # if memory runs out, the kernel kills the program before the worker with all its tasks
REAP_S = 10.0  # the longest wait for the end of killed processes; one can hang in the kernel
PAUSE_S = 0.005
NOT_STARTED = 127


class Guard:
    """Guards one program.

    Args:
        control: Connected to the worker: reports go out, and its end means that the program must end.
        grace_s: Seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, control: socket.socket, grace_s: float) -> None:
        self._control = control
        self._grace_s = grace_s
        self._program = 0
        self._status: int | None = None
        self._wake, wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        # A service manager may send SIGTERM to all processes at once; the worker decides when its tasks end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    def run(self, argv: list[str], memory_bytes: int, parent: int) -> dict[str, object]:
        """Run the program to its end; returns the report of it."""
        prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        failure, failed = os.pipe()
        failed = move_up(failed)
        try:
            self._program = os.fork()
        except OSError as error:
            return {"outlived": 0, "not_started": error.errno}
        if self._program == 0:
            become(argv, memory_bytes, failed)
        os.close(failed)
        let_go_of_output()
        self.tell({"pid": self._program})
        self._wait(parent)
        outlived = self._end_all()
        with os.fdopen(failure, "rb") as reason:
            number = reason.read()
        report: dict[str, object] = {"outlived": outlived}
        if number:
            return report | {"not_started": int(number)}
        if self._status is None or os.WIFSIGNALED(self._status):
            return report | {"signal": signal.SIGKILL if self._status is None else os.WTERMSIG(self._status)}
        return report | {"code": os.WEXITSTATUS(self._status)}

    def tell(self, report: dict[str, object]) -> None:
        """Send a report to the worker, if it lives."""
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps(report).encode() + b"\n")

    def _wait(self, parent: int) -> None:
        """Wait until the program has ended or must end."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._has_ended() and os.getppid() == parent:
            ready = [number for number, _ in poll.poll()]
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
            if self._control.fileno() in ready and self._is_closed():
                break
        if self._status is None:
            self._ask_to_end()

    def _is_closed(self) -> bool:
        try:
            return not self._control.recv(4096)
        except OSError:
            return True

    def _ask_to_end(self) -> None:
        self._signal_group(signal.SIGTERM)
        deadline = time.monotonic() + self._grace_s
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(PAUSE_S)

    def _end_all(self) -> int:
        """Kill everything that the program has started; returns the number of processes that outlived it."""
        outlived: set[int] = set()
        deadline = time.monotonic() + REAP_S
        self._signal_group(signal.SIGKILL)
        while self._has_children() and time.monotonic() < deadline:
            for child in living_children_of(os.getpid()):
                if child != self._program:
                    outlived.add(child)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            time.sleep(PAUSE_S)
        return len(outlived)

    def _signal_group(self, number: signal.Signals) -> None:
        """The program leads a process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._program, number)

    def _has_ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self._program, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def _has_children(self) -> bool:
        """Whether a process is left, after collecting those that have ended."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._program:
                    self._status = status
        except ChildProcessError:
            return False


def become(argv: list[str], memory_bytes: int, failed: int) -> NoReturn:
    """In the new child: limit it, and make it the program; a failure goes into the pipe `failed`."""
    try:
        guard = os.getppid()
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(NOT_STARTED)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory_bytes:
            limit_memory(memory_bytes)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, "ascii")
        for number in (
            signal.SIGPIPE,
            signal.SIGTERM,
            signal.SIGINT,
        ):  # the program would inherit that they are ignored
            signal.signal(number, signal.SIG_DFL)
        os.execve(argv[0], argv, os.environ)  # noqa: S606 - this is meant: a program of the operator, without a shell
    except OSError as error:
        os.write(failed, str(error.errno or errno.EINVAL).encode())
    finally:
        os._exit(NOT_STARTED)


def limit_memory(most_bytes: int) -> None:
    """Limit the memory that the process writes to. Browsers reserve far more addresses than they use."""
    _, highest = resource.getrlimit(resource.RLIMIT_DATA)
    most_bytes = most_bytes if highest == resource.RLIM_INFINITY else min(most_bytes, highest)
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))


def let_go_of_output() -> None:
    """Close the program's pipes here, so that they end with the program."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(ACKNOWLEDGEMENTS)


def living_children_of(parent: int) -> list[int]:
    """The ids of its direct children that run; none where there is no /proc."""
    try:
        processes = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
    except OSError:
        return []
    return [int(process.name) for process in processes if _is_living_child(process, parent)]


def _is_living_child(process: Path, parent: int) -> bool:
    try:
        status = (process / "stat").read_bytes()
    except OSError:
        return False
    state, ppid = status.rpartition(b")")[2].split()[:2]  # proc_pid_stat(5): the name before may contain anything
    return state != b"Z" and int(ppid) == parent


def prctl(option: int, value: int) -> None:
    """Ask Linux for something that concerns this process; other systems have no such call."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def move_up(number: int) -> int:
    """Give a file descriptor a high number, which the program does not inherit."""
    high = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, HIGH)
    os.close(number)
    return high


def main() -> None:
    """Run with the arguments that `program._start_guard` gives: descriptors, limits, the folder, and the program."""
    control, acknowledgements, writing_end, parent, grace_s, memory_bytes, folder, *argv = sys.argv[1:]
    mine, answers = move_up(int(control)), move_up(int(acknowledgements))
    # Kept open: if the worker is killed, a program that waits for an answer must not read the end of the pipe as one.
    move_up(int(writing_end))
    os.dup2(answers, ACKNOWLEDGEMENTS)
    os.close(answers)
    guard = Guard(socket.socket(fileno=mine), float(grace_s))
    report = guard.run(argv, int(memory_bytes), int(parent))
    shutil.rmtree(folder, ignore_errors=True)
    guard.tell(report)


if __name__ == "__main__":
    main()
