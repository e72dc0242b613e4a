import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.queue.codec import ADOPTED_FROM_PICKLE, deserialize, job_of, read_job, serialize
from everpost.task.model import Task
from everpost.task.queued_job import QueuedJob

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=6)


def task(task_data: bytes, priority: int = 5) -> Task:
    return Task(task_id="a", task_data=task_data, platform="douyin", account_id="x", priority=priority, created_at_ms=0)


@given(OBJECTS, st.integers(0, 9))
def test_task_data_comes_off_the_wire_byte_for_byte(data: dict[str, object], priority: int) -> None:
    task_data = msgspec.json.encode(data)
    found = read_job(job_of(task(task_data, priority), 1))
    assert found == QueuedJob(task_data=task_data, priority=priority, enqueued_at_ms=1)
    assert msgspec.json.decode(task_data) == data


@given(st.binary())
def test_a_stranger_s_bytes_are_never_more_than_unreadable(payload: bytes) -> None:
    read_job(payload)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_plain_values_is_read(protocol: int) -> None:
    message = {"f": "publish", "a": (), "k": {"task_data": {"platform": 1}}, "t": 1, "et": 1}
    job = QueuedJob(task_data=b'{"platform":1}', enqueued_at_ms=1, from_pickle=True)
    assert read_job(pickle.dumps(message, protocol)) == job


def test_a_pickle_that_names_a_global_is_not_loaded() -> None:
    payload = pickle.dumps({"f": "publish", "a": (), "k": {"task_data": {"x": print}}, "t": 1, "et": 1})
    assert read_job(payload) is None
    with pytest.raises(ValueError, match=r"builtins\.print"):
        deserialize(payload)


def test_a_task_whose_client_reads_pickles_goes_into_the_queue_as_one() -> None:
    adopted = msgspec.structs.replace(task(b"{}"), accepted_by=ADOPTED_FROM_PICKLE)
    assert pickle.loads(job_of(adopted, 1))["k"]["task_data"] == b"{}"
    assert read_job(job_of(adopted, 1)) == QueuedJob(task_data=b"{}", enqueued_at_ms=1, from_pickle=True)


def test_a_dict_of_a_stock_client_is_read_by_name_or_by_position() -> None:
    by_name = serialize({"f": "publish", "a": (), "k": {"task_data": {"platform": 1}, "priority": 2}, "t": 1, "et": 1})
    by_position = serialize({"f": "publish", "a": ({"platform": 1}, 2), "k": {}, "t": 1, "et": 1})
    assert (
        read_job(by_name)
        == read_job(by_position)
        == QueuedJob(task_data=b'{"platform":1}', priority=2, enqueued_at_ms=1)
    )


@pytest.mark.parametrize("priority", [-1, 10, True, "5", None, 2.0])
def test_a_priority_that_makes_no_sense_is_the_default(priority: object) -> None:
    payload = serialize({"f": "publish", "a": (), "k": {"task_data": {}, "priority": priority}, "t": 1, "et": 1})
    found = read_job(payload)
    assert found is not None
    assert found.priority == 5


def test_an_exception_goes_over_the_wire_as_its_text() -> None:
    assert deserialize(serialize({"r": ValueError("no")})) == {"r": "ValueError: no"}


def test_a_job_of_another_function_is_not_a_task() -> None:
    assert read_job(serialize({"f": "other", "a": (), "k": {"task_data": {}}, "t": 1, "et": 1})) is None
