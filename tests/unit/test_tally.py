"""Counting, and reading the counts back although other programs may write there."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.metrics import (
    ACCEPTED,
    BOUNDS_S,
    COUNTERS,
    ENDED,
    HISTOGRAMS,
    QUEUE_WAIT,
    Tally,
    read_numbers,
    written_field,
)

ANY_JSON = st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=4), max_leaves=5)


def test_names_are_as_prometheus_advises() -> None:
    for metric in (*COUNTERS, *HISTOGRAMS):
        assert metric.name.startswith("everpost_")
        assert metric.help.endswith(".")
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert all(histogram.name.endswith("_seconds") for histogram in HISTOGRAMS)


def test_taken_counts_are_counted_once() -> None:
    tally = Tally()
    tally.count(ACCEPTED, "douyin")
    tally.count(ACCEPTED, "douyin")
    assert tally.take() == {(ACCEPTED.name, "douyin"): 2}
    assert tally.take() == {}


def test_returned_counts_are_added_to_later_ones() -> None:
    tally = Tally()
    tally.count(ACCEPTED, "douyin")
    taken = tally.take()
    tally.count(ACCEPTED, "douyin")
    tally.give_back(taken)
    assert tally.take() == {(ACCEPTED.name, "douyin"): 2}


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(-5, "0.001"), (0, "0.001"), (0.001, "0.001"), (0.0011, "0.005"), (3600, "3600"), (1e9, "+Inf")],
)
def test_a_duration_falls_into_the_first_bucket_that_is_long_enough(seconds: float, bucket: str) -> None:
    tally = Tally()
    tally.observe(QUEUE_WAIT, [seconds], "5")
    microseconds = round(max(0.0, seconds) * 1e6)
    assert tally.take() == {(QUEUE_WAIT.name, "5", bucket): 1, (QUEUE_WAIT.name, "5", "sum"): microseconds}
    assert list(BOUNDS_S) == sorted(BOUNDS_S)


def test_numbers_are_read_back_as_they_were_written() -> None:
    tally = Tally()
    tally.count(ENDED, "哔哩", "failed", "transient")
    tally.observe(QUEUE_WAIT, [0.2], "0")
    numbers = tally.take()
    assert read_numbers((written_field(field), b"%d" % number) for field, number in numbers.items()) == numbers


@given(ANY_JSON | st.binary(), st.binary())
def test_foreign_values_are_skipped(key: object, value: bytes) -> None:
    written = key if isinstance(key, bytes) else msgspec.json.encode(key)
    ours = written_field((ACCEPTED.name, "douyin"))
    assert read_numbers([(written, value), (ours, b"3")]) == {(ACCEPTED.name, "douyin"): 3}


@pytest.mark.parametrize(
    "field", [[], ["everpost_nothing"], [ACCEPTED.name], [ACCEPTED.name, "a", "b"], [QUEUE_WAIT.name, "5", "0.7"]]
)
def test_a_field_no_process_writes_is_passed_over(field: list[str]) -> None:
    assert read_numbers([(msgspec.json.encode(field), b"1")]) == {}
