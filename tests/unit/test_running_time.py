from hypothesis import given
from hypothesis import strategies as st

from everpost.clock import SinceBoot
from everpost.running_time import LONGEST_STEP_MS, STEP_S, TRUSTED_MS, ClockMark, count_step, read_mark

DAY_MS = 86_400_000
STEP_MS = round(STEP_S * 1000)
BOOT = "boot"


def counted(mark: ClockMark | None, steps: int, wall_ms: int = 0) -> ClockMark:
    """The mark after steps of a clock that runs well."""
    for _ in range(steps):
        since_ms = mark.boot_ms + STEP_MS if mark else 0
        mark = count_step(mark, wall_ms + since_ms, SinceBoot(BOOT, since_ms))
    assert mark is not None
    return mark


def test_an_hour_of_steps_is_an_hour_after_which_the_wall_clock_is_believed() -> None:
    mark = counted(None, 61)
    assert (mark.counted_ms, mark.steady_ms, mark.is_trusted) == (TRUSTED_MS, TRUSTED_MS, True)
    assert not counted(None, 60).is_trusted


def test_a_process_whose_clocks_are_a_day_ahead_adds_two_minutes_at_most_and_is_not_believed() -> None:
    mark = counted(None, 100)
    for boot_ms in (mark.boot_ms + 1_000, mark.boot_ms + DAY_MS, 56 * 365 * DAY_MS):
        ahead = count_step(mark, mark.wall_ms + DAY_MS, SinceBoot(BOOT, boot_ms))
        assert ahead.counted_ms - mark.counted_ms <= LONGEST_STEP_MS
        assert not ahead.is_trusted
        back = count_step(ahead, mark.wall_ms + STEP_MS, SinceBoot(BOOT, mark.boot_ms + STEP_MS))
        assert back.counted_ms - ahead.counted_ms <= STEP_MS
        assert not back.is_trusted


def test_a_clock_that_went_back_is_known_for_one_until_it_has_been_steady_for_an_hour() -> None:
    mark = counted(None, 100)
    back = count_step(mark, mark.wall_ms - DAY_MS, SinceBoot("another boot", 0))
    assert (back.highest_ms, back.wall_ms) == (mark.wall_ms, mark.wall_ms - DAY_MS)
    for _ in range(60):
        back = count_step(back, back.wall_ms + STEP_MS, SinceBoot("another boot", back.boot_ms + STEP_MS))
    assert back.highest_ms == back.wall_ms


@given(st.lists(st.tuples(st.integers(-(2**50), 2**50), st.sampled_from("ab"), st.integers(0, 2**50)), max_size=30))
def test_the_running_time_never_goes_back_and_never_leaps(clocks: list[tuple[int, str, int]]) -> None:
    mark: ClockMark | None = None
    for wall_ms, boot, since_ms in clocks:
        before = mark.counted_ms if mark else 0
        mark = count_step(mark, wall_ms, SinceBoot(boot, since_ms))
        assert 0 <= mark.counted_ms - before <= LONGEST_STEP_MS
        assert mark.highest_ms >= mark.wall_ms


def test_an_unreadable_mark_counts_as_none() -> None:
    assert [read_mark(text) for text in (None, "", "[]", '{"boot": 1}')] == [None] * 4
