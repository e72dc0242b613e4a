"""Recurring posts: which occurrence is made, and with which id."""

from datetime import UTC, datetime
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.clock import to_text
from everpost.errors import InvalidValue
from everpost.task.cron import check_cron, last_time_until, times_after
from everpost.task.recurrence import AHEAD_MS, Recurrence, decide_occurrence, next_times, task_of_occurrence
from everpost.task.schedule_times import local_text

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_MS = 3_600_000


def ms(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]  # a date, and a time of day


def recurring(cron: str, next_ms: int | None = None, **fields: Any) -> Recurrence:
    made = {"name": "n", "task_data": b'{"platform":1,"account_id":"a","title":"t"}', "platform": "douyin", **fields}
    made |= {"account_id": "a", "created_at": "", "updated_at": "", "next_at": next_ms and to_text(next_ms)}
    return Recurrence(recurrence_id="r", cron=cron, **made)


def texts(cron: str, after_ms: int, count: int) -> list[str]:
    return [local_text(time_ms, BERLIN)[:22] for time_ms in islice(times_after(cron, BERLIN, after_ms), count)]


def test_a_fixed_time_that_clocks_skip_is_made_after_the_gap_and_one_that_comes_twice_once() -> None:
    assert texts("30 2 * * *", ms(2026, 3, 28, 0), 3) == [
        "2026-03-28T02:30:00.00", "2026-03-29T03:00:00.00", "2026-03-30T02:30:00.00",
    ]  # fmt: skip
    assert texts("30 2 * * *", ms(2026, 10, 24, 12), 2) == ["2026-10-25T02:30:00.00", "2026-10-26T02:30:00.00"]


def test_every_half_hour_is_every_half_hour_where_clocks_are_put_back() -> None:
    times = list(islice(times_after("*/30 * * * *", BERLIN, ms(2026, 10, 24, 23)), 8))
    assert {later - earlier for earlier, later in pairwise(times)} == {HOUR_MS // 2}


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* * * * * *",
        "0 0 30 2 *",
        "@daily",
        "5L/2 * * * *",
        "0 0 * * 5L/2",
        "9" * 300,
        "a b c d e",
    ],
)
def test_what_is_not_a_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(InvalidValue):
        check_cron(cron)


@given(st.text("0123456789*/,-#LMON ", max_size=30))
def test_no_text_of_a_stranger_crashes_it(text: str) -> None:
    try:
        check_cron(text)
    except InvalidValue:
        return
    assert len(text.split()) == 5


def test_an_occurrence_is_made_shortly_before_its_time() -> None:
    noon_ms = ms(2026, 5, 4, 12)
    hourly = recurring("0 * * * *", noon_ms)
    assert decide_occurrence(hourly, UTC, noon_ms - AHEAD_MS - 1) is None
    made = decide_occurrence(hourly, UTC, noon_ms - AHEAD_MS)
    assert made is not None
    assert (made.time_ms, made.next_ms, made.missed) == (noon_ms, noon_ms + HOUR_MS, 0)


def test_after_an_outage_only_the_newest_is_made_and_the_others_are_counted() -> None:
    noon_ms = ms(2026, 5, 4, 12)
    made = decide_occurrence(recurring("0 * * * *", noon_ms), UTC, noon_ms + 5 * HOUR_MS + 1)
    assert made is not None
    assert (made.time_ms, made.next_ms, made.missed) == (noon_ms + 5 * HOUR_MS, noon_ms + 6 * HOUR_MS, 5)
    year_later = decide_occurrence(recurring("* * * * *", noon_ms), UTC, noon_ms + 8_760 * HOUR_MS)
    assert year_later is not None
    assert (year_later.time_ms, year_later.missed) == (noon_ms + 8_760 * HOUR_MS, 1_000)


def test_none_is_made_after_its_end() -> None:
    noon_ms = ms(2026, 5, 4, 12)
    ending = recurring("0 * * * *", noon_ms, until_at=to_text(noon_ms + HOUR_MS))
    assert next_times(ending, UTC, noon_ms - 1, 5) == [noon_ms, noon_ms + HOUR_MS]
    late = decide_occurrence(ending, UTC, noon_ms + 9 * HOUR_MS)
    assert late is not None
    assert (late.time_ms, late.next_ms, late.missed) == (noon_ms + HOUR_MS, None, 1)


@given(st.integers(0, 10 * 365 * 24 * 60), st.sampled_from(["* * * * *", "30 2 * * *", "0 9 * * MON", "*/7 1-5 1 * *"]))
def test_the_last_time_and_the_next_ones_agree(minutes: int, cron: str) -> None:
    now_ms = ms(2024, 1, 1) + minutes * 60_000
    last_ms = last_time_until(cron, BERLIN, now_ms)
    assert last_ms is not None
    assert last_ms <= now_ms
    following = next(iter(times_after(cron, BERLIN, last_ms)))
    assert following > now_ms


def test_an_occurrence_is_one_task_whoever_makes_it_and_another_one_after_an_edit() -> None:
    noon_ms = ms(2026, 5, 4, 12)
    one = recurring("0 * * * *", noon_ms)

    def id_of(recurrence: Recurrence, time_ms: int, now_ms: int) -> str:
        made = task_of_occurrence(recurrence, time_ms, BERLIN, late_after_s=None, now_ms=now_ms, accepted_by="w")
        return made.task_id

    assert id_of(one, noon_ms, noon_ms - 5) == id_of(one, noon_ms, noon_ms + 7)
    edited = msgspec.structs.replace(one, version=2)
    ids = {id_of(one, noon_ms, 0), id_of(one, noon_ms + HOUR_MS, 0), id_of(edited, noon_ms, 0)}
    assert len(ids) == 3
    assert all(len(task_id) == 32 and task_id[12] == "7" for task_id in ids)


def test_the_task_of_an_occurrence_has_its_callback() -> None:
    data = b'{"platform":1,"account_id":"a","callback_url":"https://example.com/"}'
    made = task_of_occurrence(
        recurring("0 * * * *", task_data=data), 0, BERLIN, late_after_s=None, now_ms=0, accepted_by="w"
    )
    assert made.callback_url == "https://example.com/"


def test_the_task_of_an_occurrence_has_its_time_and_its_latest_start() -> None:
    noon_ms = ms(2026, 5, 4, 12)
    task = task_of_occurrence(
        recurring("0 * * * *"), noon_ms, BERLIN, late_after_s=60, now_ms=noon_ms + 9_000, accepted_by="w"
    )
    assert (task.due_at_ms, task.late_at_ms, task.batch_id) == (noon_ms, noon_ms + 60_000, "r")
    assert msgspec.json.decode(task.task_data)["schedule_time"] == "2026-05-04T14:00:00.000+02:00"
