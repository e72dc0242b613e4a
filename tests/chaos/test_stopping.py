"""A stop keeps its budget in any trouble, loses no outcome, and reports what it cut off; also for a closed terminal."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from cli_support import Up, command, descendants, environment, free_port, is_alive, run_process, serving, until
from everpost.embedded import server_program
from store_kit import kit_of
from trying_publishers import LOCAL, PLAIN, Trial

WAIT_S = 1
BUDGET_S = WAIT_S + 5 + 5 + 5  # as service/everpost/stopping.py has it
LATE_S = 5  # of a busy machine
TASKS = 5


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    trial = Trial(tmp_path / "trial")
    monkeypatch.setenv("PYTHONPATH", trial.python_path)
    monkeypatch.setitem(sys.modules["cli_support"].QUICK, "EVERPOST_SHUTDOWN_WAIT", str(WAIT_S))
    return trial


def begin(up: Up, trial: Trial) -> list[str]:
    task_ids = [up.publish(platform=PLAIN) for _ in range(TASKS)]
    until(lambda: len(trial.calls()) == TASKS, "the beginning of all attempts")
    return task_ids


def let_them_send(trial: Trial) -> None:
    trial.open_gate()
    until(lambda: len(trial.effects()) == TASKS, "all posts")


def check_all_are_published_once(folder: Path, trial: Trial, task_ids: list[str]) -> None:
    with serving(folder, PLATFORMS=trial.platforms) as up:
        assert Counter(up.wait_until_ended(task_id)["status"] for task_id in task_ids) == {"success": TASKS}
        assert up.stop() == 0
    assert len(trial.effects()) == TASKS


def test_outcomes_that_a_locked_file_does_not_take_are_recorded_at_the_next_start(tmp_path: Path, trial: Trial) -> None:
    with serving(tmp_path, PLATFORMS=trial.platforms) as up:
        task_ids = begin(up, trial)
        with kit_of(up.database).locked():
            let_them_send(trial)
            began = time.monotonic()
            assert up.stop() == 0
            assert time.monotonic() - began < BUDGET_S + LATE_S
            assert "outcomes.left_over" in up.said()
    check_all_are_published_once(tmp_path, trial, task_ids)
    assert not list((tmp_path / "data").glob("*.outcomes"))


@pytest.mark.chaos
def test_a_frozen_redis_does_not_hold_up_a_stop(tmp_path: Path, trial: Trial) -> None:
    with serving(tmp_path, PLATFORMS=trial.platforms) as up:
        task_ids = begin(up, trial)
        os.kill(up.children()["valkey"], signal.SIGSTOP)
        let_them_send(trial)
        began = time.monotonic()
        assert up.stop() == 0
        assert time.monotonic() - began < BUDGET_S + LATE_S
    check_all_are_published_once(tmp_path, trial, task_ids)


@pytest.mark.chaos
def test_up_reports_what_it_had_to_kill_and_the_consequences(tmp_path: Path, trial: Trial) -> None:
    trial.open_gate()
    with serving(tmp_path, PLATFORMS=trial.platforms) as up:
        up.publish(platform=LOCAL, do="block")
        until(trial.calls, "the attempt that blocks the worker")
        began = time.monotonic()
        assert up.stop() == 1
        assert time.monotonic() - began < BUDGET_S + LATE_S
        assert "The worker did not stop within 14 s and was killed." in up.said()
        assert "everpost list --status unknown" in up.said()


def test_sighup_stops_api_and_worker_as_sigterm_does(tmp_path: Path) -> None:
    with serving(tmp_path) as up:
        for number, (child, program) in enumerate({"api": "api", "workers": "worker"}.items(), 1):
            os.kill(up.children()[child], signal.SIGHUP)
            up.wait_for(f"{program}.stopped")
            up.wait_for("ended with exit code 0", times=number)
        assert up.stop() == 0


@pytest.mark.chaos
def test_a_closed_terminal_stops_everything_in_order(tmp_path: Path) -> None:
    master, slave = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    env = environment(DATA=str(tmp_path / "data"), PORT="0")
    up = subprocess.Popen(
        command("up"),
        env=env,
        start_new_session=True,
        preexec_fn=take_terminal,  # noqa: PLW1509 - it is one system call
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    said = b""
    while b"worker.started" not in said:
        said += os.read(master, 4096)
    children = descendants(up.pid)
    assert len(children) == 3
    os.close(master)
    assert up.wait(30) == 0
    assert not any(is_alive(pid) for pid in children)
    assert not (tmp_path / "data" / "everpost.db-wal").exists(), "the database was closed"


@pytest.mark.chaos
def test_a_second_up_on_the_same_folder_is_refused_with_an_external_redis_too(tmp_path: Path) -> None:
    port = free_port()
    server = subprocess.Popen(
        [server_program(), "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL
    )
    try:
        with serving(tmp_path, REDIS=f"redis://127.0.0.1:{port}/0") as up:
            second = run_process("up", env=up.env)
            assert second.returncode == 2
            assert "is in use by an `everpost up` already" in second.stderr
            assert "6379" not in (tmp_path / "data" / "up.lock").read_text()
            assert up.everpost("list").returncode == 0, "commands find its API through the lock"
            assert up.stop() == 0
    finally:
        with suppress(ProcessLookupError):
            server.kill()
        server.wait()
