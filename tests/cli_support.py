"""The `everpost` command as people run it: in this process or in its own, with its own environment and a deadline."""

import logging
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, closing, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, Self, TypeVar
from unittest.mock import patch

import httpx
import structlog

from everpost import cli
from everpost.testing.waiting import pause_s

Found = TypeVar("Found")

STYLE = re.compile(r"\x1b\[(\?(25|1049)[lh]|[0-9;]*[mKHJ])")
"""The escape sequences that rich writes to a terminal."""

DEADLINE_S = 30.0
QUICK = {"EVERPOST_LEASE": "2", "EVERPOST_PORT": "0", "EVERPOST_SHUTDOWN_WAIT": "20"}


def until(condition: Callable[[], Found], what: str, timeout_s: float = DEADLINE_S) -> Found:
    """Wait until `condition` returns something true, and return that; fail with `what` after `timeout_s` seconds."""
    pause = threading.Event()
    began_s = time.monotonic()
    while not (found := condition()):
        waited_s = time.monotonic() - began_s
        assert waited_s < timeout_s, f"{what} did not come within {timeout_s:g} s"
        pause.wait(pause_s(waited_s))
    return found


def environment(**settings: str) -> dict[str, str]:
    """This process's environment with these EVERPOST_* variables and no others."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("EVERPOST_")}
    return {**others, **{f"EVERPOST_{name}": value for name, value in settings.items()}}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "everpost.cli", *arguments]


def run(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, without a terminal: its answer is that of `run_process`, in a tenth of the time.

    For commands that end by themselves. One that does not is interrupted.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, env or environment(), clear=True))
        stack.enter_context(chdir(cwd) if cwd else nullcontext())
        stack.enter_context(patch.object(os, "execv", side_effect=AssertionError("no process of its own here")))
        stack.enter_context(kept_logging())
        stack.enter_context(standard_files(output, errors))
        with deadline(arguments):
            code = cli.run(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        said = []
        for file in (output, errors):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess(arguments, code, *said)


@contextmanager
def standard_files(output: IO[bytes], errors: IO[bytes]) -> Iterator[None]:
    """Replace standard output and error, for C libraries and child processes too; standard input is empty."""
    with ExitStack() as stack:
        empty = stack.enter_context(Path(os.devnull).open("rb"))
        for number, (name, file) in enumerate({"stdin": empty, "stdout": output, "stderr": errors}.items()):
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            os.dup2(file.fileno(), number)
            stream = stack.enter_context(open(number, "w" if number else "r", encoding="utf-8", closefd=False))
            stack.enter_context(patch.object(sys, name, stream))
        yield


@contextmanager
def kept_logging() -> Iterator[None]:
    """Restore what commands change of logging."""
    root = logging.getLogger()
    before, level, structure = root.handlers[:], root.level, structlog.get_config()
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        structlog.configure(**structure)


@contextmanager
def deadline(arguments: Sequence[str]) -> Iterator[None]:
    """Interrupt what takes longer than DEADLINE_S, and fail."""
    late = []

    def interrupt(*_: object) -> None:
        late.append(arguments)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not late, f"{late} did not end within {DEADLINE_S:g} s"


def run_process(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in its own process to its end, without a terminal."""
    return subprocess.run(
        command(*arguments),
        env=env or environment(),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def on_terminal(env: Mapping[str, str], *arguments: str, columns: int = 80, interrupt_at: str | None = None) -> str:
    """What a command writes to a terminal until it ends. It gets Ctrl-C once it has written `interrupt_at`."""
    terminal, side = pty.openpty()
    seen = {**env, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "24"}
    process = subprocess.Popen(command(*arguments), env=seen, stdin=side, stdout=side, stderr=side)
    os.close(side)
    shown = b""
    try:
        while chunk := os.read(terminal, 65_536):
            shown += chunk
            if interrupt_at is not None and interrupt_at.encode() in shown:
                process.send_signal(signal.SIGINT)
                interrupt_at = None
    except OSError:  # Linux's error when the other side is closed
        pass
    os.close(terminal)
    assert process.wait(DEADLINE_S) in {0, 1}, shown
    return shown.decode()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Up:
    """A running `everpost up`."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.folder = folder
        self.database = folder / "data" / "everpost.db"
        self.log = folder / "up.log"
        self.env = {**environment(**settings), **QUICK, "EVERPOST_DATA": str(folder / "data")}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command("up", *arguments),
                env=self.env,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def said(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def wait_for(self, text: str, times: int = 1) -> Self:
        """Wait until it has printed the text this many times."""

        def has_said() -> bool:
            assert self.process.poll() is None or self.said().count(text) >= times, self.said()
            return self.said().count(text) >= times

        until(has_said, f"{text!r} in {self.log}")
        return self

    @property
    def url(self) -> str:
        match = re.search(r"Everpost serves (\S+)", self.said())
        assert match, self.said()
        return match[1]

    def children(self) -> dict[str, int]:
        """Its child processes: the kind of each, and its id."""
        found = {}
        for pid in descendants(self.process.pid):
            line = command_line(pid)
            for name in ("valkey-server", "redis-server", "workers", "api"):
                if name in line:
                    found["valkey" if name.endswith("server") else name] = pid
                    break
        return found

    def kill_worker(self) -> None:
        """Send SIGKILL to its worker."""
        os.kill(self.children()["workers"], signal.SIGKILL)

    def everpost(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command with its settings."""
        return run(*arguments, env=self.env)

    def publish(self, **fields: Any) -> str:
        answer = httpx.post(f"{self.url}/api/v1/publish", json={"platform": 1, "account_id": "a", **fields})
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return str(answer.json()["task_id"])

    def wait_until_ended(self, task_id: str) -> dict[str, Any]:
        """Wait until the task has ended, and return it."""
        answer = httpx.get(f"{self.url}/api/v1/tasks/{task_id}", params={"wait": 30}, timeout=40)
        task: dict[str, Any] = answer.json()["data"]
        assert task["status"] in {"success", "failed", "cancelled", "unknown"}, task
        return task

    def stop(self, number: int = signal.SIGTERM, within_s: float = DEADLINE_S) -> int:
        """Send the signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(within_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def serving(folder: Path, *arguments: str, **settings: str) -> Iterator[Up]:
    """An `everpost up` that serves, with a worker that has reported that it is alive."""
    with Up(folder, *arguments, **settings) as up:
        yield up.wait_for("Everpost serves").wait_for("worker.started")


def descendants(pid: int) -> list[int]:
    """The processes whose parent is `pid`, from Linux's /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(entry.name))
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
