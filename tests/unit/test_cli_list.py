"""The part of a list that fits a terminal, relative times, and the words of refusals."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.api.http.problems import STATUS_OF_CODE
from everpost.cli.columns import LONGEST
from everpost.cli.refusals import refusal_text
from everpost.cli.task_table import lines_of
from everpost.cli.times import relative_time
from everpost.clock import to_text
from everpost.error_codes import meaning_of_codes
from everpost.task.model import TaskStatus

NOW_MS = 1_790_000_000_000
ID = "01a21e2b25237b31911479339f30e941"

texts = st.text("ab 测试视频한", max_size=100) | st.none()
rows = st.fixed_dictionaries(
    {
        "task_id": st.sampled_from([ID, "stock-job", ID[::-1]]),
        "status": st.sampled_from([*map(str, TaskStatus)]),
        "title": texts,
        "platform": st.sampled_from(["douyin", "xiaohongshu", None]),
        "account_id": texts,
        "error_message": texts,
        "created_at": st.integers(0, 2 * NOW_MS).map(to_text) | st.none(),
        "due_at": st.integers(NOW_MS, 2 * NOW_MS).map(to_text) | st.none(),
        "evidence": st.none() | st.fixed_dictionaries({"phase": st.just("sending"), "last_words": texts}),
    }
)


def cells(text: str) -> int:
    """How wide a terminal shows it; wide characters take two cells (UAX #11)."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def position(line: str, part: str) -> int:
    return cells(line[: line.index(part)])


@given(st.lists(rows, min_size=1, max_size=5), st.integers(1, 200))
def test_a_list_never_outgrows_the_terminal_and_never_cuts_an_id_or_a_status(
    rows: list[dict[str, Any]], width: int
) -> None:
    lines = [line.plain for line in lines_of(rows, width, NOW_MS)]
    shown = "\n".join(lines)
    for row in rows:
        assert row["task_id"] in shown
        assert row["status"] in shown
    longest = max(cells(row["task_id"]) for row in rows)
    assert max(map(cells, lines)) <= max(width, longest, 2 + len("scheduled"))


@given(st.lists(rows, min_size=1, max_size=5), st.integers(80, 200))
def test_the_columns_of_a_list_are_aligned_whatever_the_width_of_the_characters(
    rows: list[dict[str, Any]], width: int
) -> None:
    head, *lines = [line.plain for line in lines_of([{**row, "title": "…测试"} for row in rows], width, NOW_MS)]
    assert {position(line, "…测") for line in lines} == {position(head, "title")}
    assert {position(line, row["status"]) for line, row in zip(lines, rows, strict=True)} == {position(head, "status")}


def test_at_80_columns_id_status_time_and_title_are_there() -> None:
    row = {"task_id": ID, "status": "failed", "title": "一个标题", "created_at": to_text(NOW_MS - 61_000)}
    row |= {"platform": "xiaohongshu", "account_id": "a" * 40, "error_message": "e" * 200}
    head, line = [line.plain for line in lines_of([row], 80, NOW_MS)]
    assert head.split() == ["task", "status", "accepted", "title", "error"]
    assert line.startswith(f"{ID}  failed  1 min ago  一个标题")


def test_where_no_terminal_is_every_column_and_the_exact_time_are_given() -> None:
    row = {"task_id": ID, "status": "scheduled", "title": "t" * 100, "due_at": to_text(NOW_MS)}
    row |= {"created_at": to_text(NOW_MS), "platform": "p", "account_id": "a", "error_message": "e"}
    head, line = [line.plain for line in lines_of([row], None, NOW_MS)]
    assert head.split() == ["task", "status", "due", "accepted", "platform", "account", "title", "error"]
    assert line.count(to_text(NOW_MS)) == 2
    assert f"{'t' * (LONGEST - 1)}…" in line


def test_a_list_of_nothing_has_no_head() -> None:
    assert list(lines_of([], 80, NOW_MS)) == list(lines_of([], None, NOW_MS)) == []


def test_on_a_narrow_terminal_a_task_takes_lines_of_its_own() -> None:
    row = {"task_id": ID, "status": "failed", "title": "测" * 30}
    assert [line.plain for line in lines_of([row], 40, NOW_MS)] == [ID, "  failed", f"  {'测' * 18} …"]


@pytest.mark.parametrize(
    ("before_ms", "shown"),
    [
        (0, "now"),
        (999, "now"),
        (1_000, "1 s ago"),
        (59_999, "59 s ago"),
        (60_000, "1 min ago"),
        (3_599_999, "59 min ago"),
        (3_600_000, "1 h ago"),
        (86_400_000, "1 d ago"),
        (99 * 86_400_000, "99 d ago"),
        (100 * 86_400_000, "2026-06-13"),
        (-5_000, "in 5 s"),
        (-7_200_000, "in 2 h"),
        (-400 * 86_400_000, "2027-10-26"),
    ],
)
def test_a_time_is_told_by_its_distance(before_ms: int, shown: str) -> None:
    assert relative_time(to_text(NOW_MS - before_ms), NOW_MS) == shown


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-31 08:00", "2026-01-31"])
def test_an_unreadable_time_is_shown_unchanged(text: str) -> None:
    assert relative_time(text, NOW_MS) == text
    assert relative_time(None, NOW_MS) == ""


@pytest.mark.parametrize("command", ["list", "show", "retry", "cancel", "resolve", "resume"])
def test_no_refusal_of_a_command_speaks_of_http(command: str) -> None:
    meanings = meaning_of_codes()
    for code in STATUS_OF_CODE:
        for has_token in (True, False):
            problem = {"code": code, "detail": meanings.get(code, ""), "path": "$.filter.status"}
            told = refusal_text(problem, command, {"status": "--status"}, has_token=has_token)
            assert f"({code})" in told
            assert not [word for word in ("force=true", "Bearer", "?", "$.", "dry_run") if word in told], told


def test_a_refused_value_is_named_by_its_option() -> None:
    options = {"created_after": "--created-after"}
    problem = {"code": "invalid_value", "detail": "'x' is no date.", "path": "?created_after"}
    assert refusal_text(problem, "list", options, has_token=False) == "--created-after: 'x' is no date. (invalid_value)"
    problem["path"] = "$.task_ids[0]"
    assert "at $.task_ids[0]" in refusal_text(problem, "retry", options, has_token=False)


def test_a_token_that_is_missing_and_one_that_is_wrong_are_told_apart() -> None:
    asked = refusal_text({"code": "unauthorized"}, "list", {}, has_token=False)
    refused = refusal_text({"code": "unauthorized"}, "list", {}, has_token=True)
    assert "set EVERPOST_TOKEN" in asked
    assert "does not accept the token in EVERPOST_TOKEN" in refused
