"""Batches over a window or at daily times, in zones with daylight saving time."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.errors import InvalidValue
from everpost.task.schedule_times import local_text
from everpost.task.spread import Spread

BERLIN = ZoneInfo("Europe/Berlin")
NOW_MS = round(datetime(2026, 3, 27, 15, 0, tzinfo=UTC).timestamp() * 1000)  # two days before clocks are put forward


def spread(**fields: Any) -> Spread:
    made = msgspec.convert(fields, Spread)
    made.check()
    return made


def texts(wanted: Spread, count: int) -> list[str]:
    places = wanted.places(BERLIN, NOW_MS)
    return [local_text(places.time_ms(number, count), BERLIN)[:16] for number in range(count)]


def test_daily_times_are_the_original_s() -> None:
    assert texts(spread(videos_per_day=2), 5) == [
        "2026-03-28T06:00", "2026-03-28T11:00", "2026-03-29T06:00", "2026-03-29T11:00", "2026-03-30T06:00",
    ]  # fmt: skip
    assert texts(spread(start_days=1), 2) == ["2026-03-29T06:00", "2026-03-30T06:00"]


def test_daily_times_that_are_given_are_all_used() -> None:
    assert texts(spread(daily_times=["9:30", 18]), 3) == ["2026-03-28T09:30", "2026-03-28T18:00", "2026-03-29T09:30"]


def test_a_daily_time_that_is_skipped_is_the_first_after_the_gap() -> None:
    assert texts(spread(daily_times=["02:30"]), 3) == ["2026-03-28T02:30", "2026-03-29T03:00", "2026-03-30T02:30"]


def test_a_window_has_its_first_task_at_its_begin_and_its_last_at_its_end() -> None:
    wanted = spread(**{"from": "2026-03-28 10:00", "until": "2026-03-28 12:00"})
    assert texts(wanted, 3) == ["2026-03-28T10:00", "2026-03-28T11:00", "2026-03-28T12:00"]
    assert texts(wanted, 1) == ["2026-03-28T10:00"]
    assert texts(spread(until="2026-03-27 18:00"), 2) == ["2026-03-27T16:00", "2026-03-27T18:00"]


@given(st.integers(1, 1_000), st.integers(1, 5), st.integers(0, 30))
def test_daily_times_never_go_back_and_a_day_has_no_more_than_asked(count: int, per_day: int, start: int) -> None:
    times = texts(spread(videos_per_day=per_day, start_days=start), count)
    assert times == sorted(set(times))
    days = [one[:10] for one in times]
    assert max(map(days.count, days)) <= per_day


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "$.spread"),
        ({"from": "2026-03-28"}, "$.spread"),
        ({"until": "2026-03-28", "videos_per_day": 1}, "$.spread"),
        ({"videos_per_day": 6}, "$.spread.videos_per_day"),
        ({"daily_times": [9], "videos_per_day": 2}, "$.spread.videos_per_day"),
        ({"until": "soon"}, "$.spread.until"),
        ({"until": "2026-03-27 12:00"}, "$.spread.until"),
        ({"until": "2027-04-01"}, "$.spread.until"),
        ({"from": "2026-03-27 12:00", "until": "2026-03-28"}, "$.spread.from"),
        ({"until": "2026-03-29 02:30"}, "$.spread.until"),
    ],
)
def test_a_spread_that_cannot_be_is_refused_with_its_path(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        spread(**fields).places(BERLIN, NOW_MS)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "fields", [{"daily_times": [24]}, {"daily_times": ["9"]}, {"daily_times": []}, {"start_days": -1}, {"other": 1}]
)
def test_a_value_of_the_wrong_form_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        spread(**fields)
