"""What is kept of a result, however large, deep or hostile it is."""

import dataclasses
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.publishing import PublishResult
from everpost.publishing.plain import plain
from everpost.publishing.results import LONGEST, MOST_DETAIL_BYTES


class Colour(Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: int


@dataclasses.dataclass
class Pair:
    left: object
    right: object


class EndlessDict(dict[str, Any]):
    def items(self) -> Any:
        return iter(lambda: ("k", "v"), None)

    __iter__ = keys = values = items


class EndlessList(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(lambda: "v", None)


class Mine:
    def __repr__(self) -> str:
        raise ValueError

    __str__ = __iter__ = __repr__


class Hostile(PublishResult, frozen=True):
    def __getattribute__(self, name: str) -> Any:
        problems: dict[str, BaseException] = {"detail": SystemExit(), "provider_post_id": ValueError()}
        if name in problems:
            raise problems[name]
        return super().__getattribute__(name)


MINE = f"<{__name__}.Mine>"


def json_bytes(value: Any) -> int:
    return len(msgspec.json.encode(value))


any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=6),
    max_leaves=30,
)


@given(any_json)
def test_a_value_that_fits_is_kept_as_json(value: Any) -> None:
    kept, was_cut = plain(value, 1_000_000)
    assert not was_cut
    assert msgspec.json.encode(kept) == msgspec.json.encode(value)


@given(any_json, st.integers(10, 200))
def test_nothing_is_larger_than_allowed(value: Any, most_bytes: int) -> None:
    kept, was_cut = plain(value, most_bytes)
    assert json_bytes(kept) <= most_bytes + 8
    assert was_cut or msgspec.json.encode(kept) == msgspec.json.encode(value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), "1.50"),
        (b"ab", "YWI="),
        (Colour.RED, "red"),
        (Point(1), {"x": 1}),
        (Pair(1, {2}), {"left": 1, "right": [2]}),
        ((1, frozenset({2})), [1, [2]]),
        (Path("a/b"), "a/b"),
        ({1: "a", None: "b", (1,): "c"}, {"1": "a", "None": "b", "<tuple>": "c"}),
        ((number for number in [1]), "<builtins.generator>"),
        ("a\udc80", "a?"),
        (float("nan"), None),
    ],
)
def test_other_values_become_plain_ones(value: Any, kept: Any) -> None:
    made, was_cut = plain(value, 10_000)
    assert msgspec.json.encode(made) == msgspec.json.encode(kept)
    assert not was_cut


@pytest.mark.parametrize(
    ("make", "kept"),
    [
        (lambda: 10**5_000, "<an integer of 16610 bits>"),
        (Mine, MINE),
        (lambda: EndlessDict(a=1), {"a": 1}),
        (lambda: EndlessList([1]), [1]),
        (lambda: Pair(Mine(), [Mine()]), {"left": MINE, "right": [MINE]}),
    ],
    ids=["integer", "object", "dict", "list", "dataclass"],
)
def test_a_values_own_code_is_never_run(make: Callable[[], Any], kept: Any) -> None:
    assert plain(make(), 10_000) == (kept, False)


def cyclic() -> list[Any]:
    value: list[Any] = []
    value += [value] * 1_000
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


LARGE: dict[str, Callable[[], Any]] = {
    "text": lambda: {"text": "x" * 50_000_000},
    "bytes": lambda: {"bytes": b"x" * 50_000_000},
    "list": lambda: {"list": [0] * 5_000_000},
    "dict": lambda: dict.fromkeys(range(300_000)),
    "key": lambda: {"x" * 10_000_000: "y" * 100_000},
    "escapes": lambda: {"escapes": "\0" * 1_000_000},
    "cyclic": lambda: {"cyclic": cyclic()},
    "deep": lambda: {"deep": deep()},
    "no dict": lambda: [1] * 1_000_000,
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_result_of_any_size_is_cut_soon_and_without_a_copy_and_says_so(kind: str) -> None:
    detail = LARGE[kind]()
    result = PublishResult(
        provider_post_id="p" * 5_000, publish_url="https://e.test/" + "u" * 10_000_000, detail=detail
    )
    tracemalloc.start()
    began = time.thread_time()
    kept = result.storable(media="none")
    took_s = time.thread_time() - began
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert json_bytes(kept.detail) <= MOST_DETAIL_BYTES
    assert kept.detail["cut"] == ["detail", "provider_post_id", "publish_url"]
    assert kept.provider_post_id == "p" * LONGEST["provider_post_id"]
    assert len(kept.publish_url or "") == LONGEST["publish_url"]
    assert most_bytes < 10_000_000
    assert took_s < 2
    assert kept.storable() == kept


def test_a_result_that_raises_when_it_is_read_still_counts_as_a_post() -> None:
    kept = PublishResult.storable(Hostile(publish_url="https://e.test/1"), media="none")
    assert (kept.provider_post_id, kept.publish_url) == (None, "https://e.test/1")
    assert kept.detail == {
        "media": "none",
        "cut": ["detail"],
        "unprintable": {"provider_post_id": "str() failed: ValueError"},
    }


def test_an_id_may_be_a_number() -> None:
    result = PublishResult(provider_post_id=17, publish_url=None)  # type: ignore[arg-type]  # publishers do that
    assert result.storable() == PublishResult(provider_post_id="17")
