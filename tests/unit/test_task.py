import re

from hypothesis import given
from hypothesis import strategies as st

from everpost.task.model import ENDED, MOVES, UNFINISHED, TaskStatus, columns_of, new_task_id

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_a_task_id_is_a_uuid_of_version_7_in_hex() -> None:
    task_id = new_task_id(0x0123456789AB)
    assert re.fullmatch(r"0123456789ab7[0-9a-f]{3}[89ab][0-9a-f]{15}", task_id)


def test_ids_of_one_millisecond_differ() -> None:
    assert len({new_task_id(1) for _ in range(10_000)}) == 10_000


@given(st.integers(0, 2**48 - 2))
def test_a_later_id_sorts_after_an_earlier_one(now_ms: int) -> None:
    assert new_task_id(now_ms) < new_task_id(now_ms + 1)


def test_every_status_has_its_moves_and_is_either_ended_or_not() -> None:
    assert set(MOVES) == set(TaskStatus)
    assert set(TaskStatus) == ENDED | UNFINISHED
    assert not ENDED & UNFINISHED


def test_only_a_late_success_or_a_decision_on_an_unknown_outcome_leaves_an_ended_status() -> None:
    for status in ENDED - {TaskStatus.UNKNOWN}:
        assert MOVES[status] <= {TaskStatus.SUCCESS}
    assert MOVES[TaskStatus.UNKNOWN] == {TaskStatus.SUCCESS, TaskStatus.CANCELLED}


def test_every_unfinished_task_can_end() -> None:
    for status in UNFINISHED:
        reached, fringe = {status}, {status}
        while fringe:
            fringe = {after for before in fringe for after in MOVES[before]} - reached
            reached |= fringe
        assert reached >= ENDED


@given(st.dictionaries(st.sampled_from(["platform", "title", "tags", "cover", "file_id", "schedule_time"]), JSON))
def test_columns_are_texts_whatever_the_data_holds(data: dict[str, object]) -> None:
    columns = columns_of(data)
    assert all(value is None or isinstance(value, str) for value in (columns.title, columns.tags, columns.material_id))
