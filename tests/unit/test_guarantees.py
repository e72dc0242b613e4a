"""Every promise names a test, every test that is named is there, and where only `make chaos` runs one it is said."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
PROMISES = [line for line in TEXT.splitlines() if line.startswith("| ") and "shown by" not in line]
TEST = re.compile(r"^ *(?:async )?def (test_\w+)\(", flags=re.MULTILINE)
TESTS = {name for path in (ROOT / "tests").rglob("test_*.py") for name in TEST.findall(path.read_text("utf-8"))}

LONG = re.compile(r"^@pytest\.mark\.chaos\n(?:@.*\n|[ )\]].*\n)*(?:async )?def (test_\w+)", flags=re.MULTILINE)
LONG_FILE = re.compile(r"^pytestmark = (?:\[[^]]*)?pytest\.mark\.chaos", flags=re.MULTILINE)


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_is_shown_by_tests_that_exist(promise: str) -> None:
    shown_by = promise.rstrip("| ").rsplit(" | ", 1)[1]
    named = re.findall(r"`([^`]+)`", shown_by)
    assert named
    assert [name for name in named if not exists(name)] == []


def _left_to_chaos() -> dict[str, str]:
    """The tests, and the files of tests, that `make test` does not run; and what runs each."""
    found: dict[str, str] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text("utf-8")
        runner = "make chaos-fleet" if path.parent.name == "chaos_fleet" else "make chaos"
        names = TEST.findall(text) if LONG_FILE.search(text) else LONG.findall(text)
        found |= dict.fromkeys([*names, *([str(path.relative_to(ROOT))] if LONG_FILE.search(text) else [])], runner)
    return found


LEFT_TO_CHAOS = _left_to_chaos()


def test_the_tests_that_only_make_chaos_runs_are_found() -> None:
    assert LEFT_TO_CHAOS["tests/sqlite/test_syscall_crashes.py"] == "make chaos"
    assert LEFT_TO_CHAOS["test_a_long_run_of_faults_at_random"] == "make chaos"
    assert LEFT_TO_CHAOS["test_faults_of_hosts_and_network_at_random"] == "make chaos-fleet"


@pytest.mark.parametrize("promise", PROMISES)
def test_a_test_that_only_make_chaos_runs_is_marked(promise: str) -> None:
    for name, runner in LEFT_TO_CHAOS.items():
        assert f"`{name}`" not in promise or f"`{name}` (`{runner}`)" in promise


def test_every_control_that_is_named_exists() -> None:
    named = re.findall(r"`(test_\w+)`", TEXT.split("## The tests can fail")[1])
    assert named
    assert [name for name in named if not exists(name)] == []


def test_every_test_of_a_fault_of_a_publisher_exists_and_is_in_the_table() -> None:
    text = (ROOT / "docs" / "publishers.md").read_text("utf-8").partition("## Which faults each publisher")[2]
    named = re.findall(r"`(test_\w+)`", text)
    assert named
    assert [name for name in named if not exists(name)] == []
    cells = [cell for line in text.splitlines() if line.startswith("| ") for cell in line.split("|")[2:-1]]
    numbers = {int(number) for cell in cells for number in re.findall(r"(?<![0-9])\d{1,2}(?![0-9])", cell)}
    assert numbers == {int(number) for number in re.findall(r"^(\d+)\. `test_", text, flags=re.MULTILINE)}


def test_every_invariant_has_its_promise() -> None:
    assert {match for line in PROMISES for match in re.findall(r"^\| (I\d) \|", line)} == {
        f"I{number}" for number in range(1, 9)
    }


def exists(name: str) -> bool:
    if name.startswith("make "):
        return f"\n{name.removeprefix('make ')}:" in (ROOT / "Makefile").read_text("utf-8")
    return (ROOT / name).is_file() if name.startswith("tests/") else name in TESTS
