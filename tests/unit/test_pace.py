"""Long work goes in steps that others hardly notice, as large as that allows, and rests between them."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost import pace
from everpost.pace import LEAST, LEAST_REST_S, STEP_S, Pace, next_size

MOST = 500


@given(st.integers(LEAST, MOST), st.floats(0, 100))
def test_a_step_has_a_size_within_bounds_and_grows_slowly(size: int, worked_s: float) -> None:
    assert LEAST <= next_size(size, worked_s, MOST) <= min(MOST, 2 * size)


@pytest.mark.parametrize("ms_a_task", [0.01, 0.1, 0.5, 1])
def test_the_size_stays_where_a_step_takes_as_long_as_it_may(ms_a_task: float) -> None:
    size = 50
    for _ in range(20):
        size = next_size(size, size * ms_a_task / 1000, MOST)
    assert size == pytest.approx(min(MOST, STEP_S * 1000 / ms_a_task), abs=1)


def test_after_a_step_that_was_far_too_long_comes_the_smallest() -> None:
    assert next_size(MOST, 60, MOST) == LEAST


async def test_behind_a_step_others_have_as_long_as_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rests = [100.0], []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(pace, "asyncio", SimpleNamespace(sleep=sleep))
    steps = Pace(MOST, rest=4)

    def work(_: None) -> None:
        clock[0] += 2 * STEP_S

    async with steps.step() as size:
        clock[0] += 7  # the lock of another process is not its own doing, nor is the disk's flush
        steps.timed(work)(None)
        clock[0] += 5
    assert rests == [pytest.approx(4 * (12 + 2 * STEP_S))]
    assert steps.size == pytest.approx(size / 2, abs=1)
    async with steps.step():
        pass
    assert rests[1:] == [LEAST_REST_S]


@pytest.mark.parametrize(("are_writing", "expected"), [(True, [LEAST_REST_S]), (False, [])])
async def test_work_rests_only_while_others_write(
    monkeypatch: pytest.MonkeyPatch, *, are_writing: bool, expected: list[float]
) -> None:
    rests: list[float] = []
    looked: list[object] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(pace, "asyncio", SimpleNamespace(sleep=sleep))
    others = SimpleNamespace(look=looked.append, are_writing=lambda: are_writing)
    steps = Pace(MOST, others=others)
    async with steps.step():
        steps.timed(lambda _: None)("the connection")
    assert rests == expected
    assert looked == ["the connection"]
