"""Every promise names a test, and every test that is named is there."""

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


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_is_shown_by_tests_that_exist(promise: str) -> None:
    shown_by = promise.rstrip("| ").rsplit(" | ", 1)[1]
    named = re.findall(r"`([^`]+)`", shown_by)
    assert named
    assert [name for name in named if not exists(name)] == []


def test_every_control_that_is_named_exists() -> None:
    named = re.findall(r"`(test_\w+)`", TEXT.split("## That the tests would notice")[1])
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
