"""The command's own rules: delays, hidden secrets, chosen tasks, and errors in one line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from everpost import cli
from everpost.cli import SECTIONS, everpost, run
from everpost.cli.bulk import chosen_tasks
from everpost.cli.client import ApiRefused
from everpost.cli.findings import settings_as_read
from everpost.cli.programs import LONGEST_DELAY_S, described, restart_delay_s
from everpost.cli.uplock import UpFacts, UpLock, find_up
from everpost.errors import SettingsError, TaskNotFound
from everpost.findings import size_text
from everpost.probe import base_url, reachable_host
from everpost.settings import Settings


def test_a_program_that_keeps_dying_is_started_later_each_time() -> None:
    delays = [restart_delay_s(failures) for failures in range(1, 200)]
    assert delays[:4] == [0.5, 1, 2, 4]
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_DELAY_S


def test_how_a_program_ended_is_told_in_words() -> None:
    assert described(-9) == "was killed by signal 9"
    assert described(3) == "ended with exit code 3"


def test_secrets_are_never_among_the_findings() -> None:
    settings = Settings(token="very-secret-token", redis="redis://:very-secret-word@host/0")
    shown = {finding.name: finding.value for finding in settings_as_read(settings)}
    assert "very-secret" not in str(shown)
    assert shown["EVERPOST_TOKEN"] == "(set, not shown)"
    assert shown["EVERPOST_MEDIA"] == "(not set)"


def test_a_server_bound_to_every_address_is_reached_on_loopback() -> None:
    assert reachable_host("0.0.0.0") == "127.0.0.1"
    assert base_url(Settings(host="::", port=80)) == "http://[::1]:80"
    assert base_url(Settings(host="10.0.0.7", port=80), 81) == "http://10.0.0.7:81"


def test_naming_no_tasks_never_means_all_of_them() -> None:
    with pytest.raises(click.UsageError):
        chosen_tasks((), {"status": None})
    assert chosen_tasks(("a",), {"status": None}) == {"task_ids": ["a"]}
    assert chosen_tasks((), {"status": "failed", "q": None}) == {"filter": {"status": "failed"}}


def test_sizes_are_for_people() -> None:
    assert [size_text(size) for size in (0, 10_240, 3 << 20, 5 << 30)] == ["0 KiB", "10 KiB", "3.0 MiB", "5.0 GiB"]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SettingsError("wrong"), 2, "everpost: wrong\n"),
        (TaskNotFound("x"), 1, "everpost: There is no task 'x'.\n"),
        (ApiRefused("no"), 1, "everpost: no\n"),
        (ExceptionGroup("parts", [TaskNotFound("x")]), 1, "everpost: There is no task 'x'.\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "everpost: Permission denied: /x\n"),
        (KeyboardInterrupt(), 1, "everpost: stopped\n"),
        (ValueError("odd"), 1, "everpost: ValueError: odd (a defect; EVERPOST_LOG_LEVEL=debug shows where)\n"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(everpost, "main", fail)
    assert run([]) == code
    assert capsys.readouterr().err == line


def test_without_a_user_name_a_decision_asks_for_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 4242")  # OSError from Python 3.13 on

    monkeypatch.setattr("getpass.getuser", unknown)
    assert run(["resolve", "x", "--succeeded", "--why", "it is there"]) == 2
    assert "pass --by NAME to say who decides" in capsys.readouterr().err


def test_help_imports_nothing_large() -> None:
    program = "import sys; from everpost.cli import run; run(['--help']); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"asyncio", "litestar", "aiosqlite", "rich", "httpx", "redis"} & set(done.stdout.splitlines())


LOAD_API = """
import sys, uvloop
from everpost.cli import run
uvloop.run = lambda serving: serving.close()
assert run(["api"]) == 0
assert "everpost.app" in sys.modules and "rich" not in sys.modules
"""
LOAD_WORKER = "import sys, everpost_workers.__main__; assert 'rich' not in sys.modules"


@pytest.mark.parametrize("program", [LOAD_API, LOAD_WORKER])
def test_a_server_does_without_rich(program: str, tmp_path: Path) -> None:
    """It would take 4 MB for tracebacks that nothing draws."""
    usual = "import sys, structlog; assert 'rich' in sys.modules"
    subprocess.run([sys.executable, "-c", usual], check=True)  # or there is nothing to do without
    env = {**os.environ, "EVERPOST_REDIS": "redis://127.0.0.1:1/0", "EVERPOST_DATA": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=env, check=True)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for commands in SECTIONS.values():
        for name, (_, text) in commands.items():
            assert re.search(rf"^  {name} +{re.escape(text)}$", shown, flags=re.MULTILINE)


def test_one_up_a_folder_and_others_can_ask_it(tmp_path: Path) -> None:
    facts = UpFacts(pid=7, url="http://127.0.0.1:1", redis="unix:///x")
    assert find_up(tmp_path) is None
    with UpLock(tmp_path) as lock:
        lock.tell(facts)
        assert find_up(tmp_path) == facts
        with pytest.raises(SettingsError, match=r"process 7 at http://127\.0\.0\.1:1"):
            UpLock(tmp_path)
    assert find_up(tmp_path) is None
    UpLock(tmp_path).release()


def test_commands_print_through_one_place_only() -> None:
    folder = Path(cli.__file__).parent
    own = {"output.py", "__init__.py", "completion.py"}  # the place itself; one error or help text; click's own script
    others = [file for file in folder.glob("*.py") if file.name not in own]
    assert not [
        file.name
        for file in others
        if re.search(r"click\.s?echo|\bsys\.stdout\.write|^\s*print\(", file.read_text(), re.MULTILINE)
    ]
