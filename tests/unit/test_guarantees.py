"""Every promise names a test, every test that is named is there, and where only `make chaos` runs one it is said."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
PROMISES = [line for line in TEXT.splitlines() if line.startswith("| ") and "shown by" not in line]
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", path.read_text("utf-8"), flags=re.MULTILINE)
}

LONG = re.compile(r"^@pytest\.mark\.chaos\n(?:@.*\n|[ )\]].*\n)*(?:async )?def (test_\w+)", flags=re.MULTILINE)
LONG_FILE = re.compile(r"^pytestmark = [^]]*pytest\.mark\.chaos", flags=re.MULTILINE)


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_is_shown_by_tests_that_exist(promise: str) -> None:
    shown_by = promise.rstrip("| ").rsplit(" | ", 1)[1]
    named = re.findall(r"`([^`]+)`", shown_by)
    assert named
    assert [name for name in named if not exists(name)] == []


@pytest.mark.parametrize("promise", PROMISES)
def test_a_test_that_only_make_chaos_runs_is_marked(promise: str) -> None:
    left_to_chaos = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text("utf-8")
        left_to_chaos |= set(LONG.findall(text)) | ({str(path.relative_to(ROOT))} if LONG_FILE.search(text) else set())
    assert "tests/sqlite/test_syscall_crashes.py" in left_to_chaos
    assert "test_a_long_run_of_faults_at_random" in left_to_chaos
    for name in left_to_chaos:
        assert f"`{name}`" not in promise or f"`{name}` (`make chaos`)" in promise


def test_every_control_that_is_named_exists() -> None:
    named = re.findall(r"`(test_\w+)`", TEXT.split("## The tests can fail")[1])
    assert named
    assert [name for name in named if not exists(name)] == []


def test_every_invariant_has_its_promise() -> None:
    assert {match for line in PROMISES for match in re.findall(r"^\| (I\d) \|", line)} == {
        f"I{number}" for number in range(1, 9)
    }


def exists(name: str) -> bool:
    if name.startswith("make "):
        return f"\n{name.removeprefix('make ')}:" in (ROOT / "Makefile").read_text("utf-8")
    return (ROOT / name).is_file() if name.startswith("tests/") else name in TESTS
