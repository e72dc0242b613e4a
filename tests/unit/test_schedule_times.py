"""Times in zones whose clocks are put forward and back: every one is placed, or refused with both neighbours."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everpost.errors import InvalidValue, SkippedTime
from everpost.task.schedule_times import PlacedTime, place_patiently, place_time, read_moment

BERLIN = ZoneInfo("Europe/Berlin")
SPRING, AUTUMN = datetime(2026, 3, 29, 2, 30), datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001 - times of clocks
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Shanghai"]
).map(ZoneInfo)
MOMENTS = st.datetimes(datetime(2005, 1, 1), datetime(2037, 12, 31)).map(lambda one: one.replace(microsecond=0))  # noqa: DTZ001


def of_ms(time_ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(zone)


@given(MOMENTS, ZONES)
@example(SPRING, BERLIN)
@example(AUTUMN, BERLIN)
@example(datetime(2011, 12, 30, 12), ZoneInfo("Pacific/Apia"))  # noqa: DTZ001 - a day that Samoa skipped
@example(datetime(2026, 10, 4, 2, 15), ZoneInfo("Australia/Lord_Howe"))  # noqa: DTZ001 - half an hour
def test_a_time_is_placed_where_the_clocks_show_it_or_refused_between_its_neighbours(
    moment: datetime, zone: ZoneInfo
) -> None:
    try:
        placed = place_time(moment, zone)
    except SkippedTime as skipped:
        before, after = map(datetime.fromisoformat, skipped.neighbours)
        assert before.replace(tzinfo=None) < moment < after.replace(tzinfo=None) or after.replace(tzinfo=None) == moment
        assert after.astimezone(UTC) - before.astimezone(UTC) == timedelta(minutes=1)
        assert before.utcoffset() != after.utcoffset()
        for neighbour in (before, after):
            again = place_time(neighbour, zone)
            assert of_ms(again.time_ms, zone).isoformat() == neighbour.isoformat()
        assert place_patiently(moment, zone) == round(after.timestamp() * 1000)
        return
    assert of_ms(placed.time_ms, zone).replace(tzinfo=None) == moment
    assert place_patiently(moment, zone) == placed.time_ms
    second = place_time(moment, zone, fold=1)
    assert of_ms(second.time_ms, zone).replace(tzinfo=None) == moment
    assert (second.time_ms > placed.time_ms) == (placed.warning is not None)
    assert place_time(moment, zone, fold=0) == PlacedTime(placed.time_ms)


def test_a_skipped_time_names_both_neighbours() -> None:
    with pytest.raises(SkippedTime) as caught:
        place_time(SPRING, BERLIN)
    assert caught.value.neighbours == ("2026-03-29T01:59:00+01:00", "2026-03-29T03:00:00+02:00")
    assert "Europe/Berlin" in caught.value.message


def test_of_a_time_that_comes_twice_the_first_is_taken_and_the_warning_says_how_to_take_the_second() -> None:
    first = place_time(AUTUMN, BERLIN)
    assert of_ms(first.time_ms, BERLIN).isoformat() == "2026-10-25T02:30:00+02:00"
    assert "2026-10-25T02:30:00+01:00" in str(first.warning)
    second = place_time(AUTUMN, BERLIN, fold=1)
    assert (of_ms(second.time_ms, BERLIN).isoformat(), second.warning) == ("2026-10-25T02:30:00+01:00", None)


def test_an_offset_needs_no_zone() -> None:
    assert place_time(read_moment("2026-03-29T02:30:00+01:00"), BERLIN).time_ms == 1_774_747_800_000


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-02-30", "9" * 400, "2026-01-01T25:00"])
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        read_moment(text)
