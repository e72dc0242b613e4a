"""The duplicate guard: what counts as the same content, and which of several equal posts is refused."""

from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.platforms import Catalogue, Platform
from everpost.task.duplicate_rules import Guard, RecentPost, find_duplicates, guard_of
from everpost.task.submission import SubmissionReader

NOW_MS = 1_790_000_000_000
GUARDED = Platform(id=1, name="guarded", publisher="null", duplicate_window_s=60, duplicate_ignores=("trace",))
OPEN = Platform(id=2, name="open", publisher="null", aliases=("free",))
READER = SubmissionReader(Catalogue([GUARDED, OPEN]), UTC)
POST: dict[str, Any] = {
    "platform": "guarded",
    "account_id": "a",
    "title": "t",
    "tags": ["x"],
    "extra": {"b": 1, "c": 2},
}


def guard(**fields: Any) -> Guard | None:
    return guard_of(READER.check({**POST, **fields}, NOW_MS), NOW_MS)


def digest(**fields: Any) -> str:
    found = guard(**fields)
    assert found is not None
    return found.digest


def test_only_platforms_with_a_window_have_a_guard() -> None:
    assert guard(platform="open") is None
    assert guard() is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"platform": 1},
        {"priority": 1},
        {"schedule_time": "2026-12-01T00:00:00Z"},
        {"allow_duplicate": True},
        {"schedule_fold": 1},
        {"trace": "anything"},
        {"extra": {"c": 2, "b": 1}},
    ],
)
def test_when_how_and_in_which_order_something_is_posted_is_no_content(fields: dict[str, Any]) -> None:
    assert digest(**fields) == digest()


@pytest.mark.parametrize(
    "fields",
    [{"account_id": "b"}, {"title": "T"}, {"tags": []}, {"file_id": 7}, {"extra": {"b": 1}}, {"unknown": 1}],
)
def test_account_and_content_make_the_difference(fields: dict[str, Any]) -> None:
    assert digest(**fields) != digest()


def test_a_guard_knows_when_it_is_to_be_posted() -> None:
    later = guard(schedule_time="2026-12-01T00:00:00Z", allow_duplicate=True)
    assert later is not None
    assert (later.at_ms, later.window_ms, later.is_checked) == (1_796_083_200_000, 60_000, False)
    past = guard(schedule_time="2001-01-01T00:00:00Z")
    assert past is not None
    assert past.at_ms == NOW_MS


def made(at_ms: int = 0, digest: str = "d", *, is_checked: bool = True) -> Guard:
    return Guard(digest=digest, at_ms=at_ms, window_ms=10, is_checked=is_checked)


@pytest.mark.parametrize(
    ("status", "is_refused"),
    [
        ("pending", True),
        ("running", True),
        ("success", True),
        ("unknown", True),
        ("failed", False),
        ("cancelled", False),
        (None, False),
    ],
)
def test_an_earlier_post_forbids_a_new_one_unless_it_was_not_made(status: str | None, is_refused: bool) -> None:
    assert find_duplicates({"new": made()}, [RecentPost("d", "old", 5, status)]) == (
        {"new": "old"} if is_refused else {}
    )


def test_the_window_reaches_in_both_directions_and_ends() -> None:
    at = {f"{ms}": made(ms) for ms in (90, 91, 109, 110)}
    assert find_duplicates({"110": at["110"]}, [RecentPost("d", "old", 100, "success")]) == {}
    assert find_duplicates({"109": at["109"]}, [RecentPost("d", "old", 100, "success")]) == {"109": "old"}
    assert find_duplicates({"91": at["91"]}, [RecentPost("d", "old", 100, "success")]) == {"91": "old"}
    assert find_duplicates({"90": at["90"]}, [RecentPost("d", "old", 100, "success")]) == {}


def test_an_allowed_duplicate_is_accepted_and_forbids_later_ones() -> None:
    guards = {"first": made(), "allowed": made(is_checked=False), "third": made(), "other": made(digest="e")}
    assert find_duplicates(guards, []) == {"third": "allowed"}


@given(st.lists(st.tuples(st.sampled_from("de"), st.integers(0, 40)), max_size=12))
def test_accepted_posts_of_one_digest_are_never_closer_than_the_window(posts: list[tuple[str, int]]) -> None:
    guards = {str(number): made(at_ms, digest) for number, (digest, at_ms) in enumerate(posts)}
    refused = find_duplicates(guards, [])
    accepted = [guard for task_id, guard in guards.items() if task_id not in refused]
    for number, one in enumerate(accepted):
        assert not [two for two in accepted[:number] if two.digest == one.digest and abs(two.at_ms - one.at_ms) < 10]
    assert set(refused.values()) <= guards.keys() - refused.keys()


def test_a_digest_is_of_json_whatever_the_client_wrote_it_like() -> None:
    body = b'{"platform":"guarded","account_id":"a","title":"\\u6d4b"}'
    first, second = READER.read(body, NOW_MS), READER.read(msgspec.json.encode(msgspec.json.decode(body)), NOW_MS)
    assert guard_of(first, NOW_MS) == guard_of(second, NOW_MS)
