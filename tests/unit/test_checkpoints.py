"""What a publisher may save, and how it is told that it may not."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.platforms import Catalogue
from everpost.publishing import CheckpointError, JobKeeper, OvertakenError, PublishJob
from everpost.publishing.checkpoints import DEEPEST, MOST_BYTES, encode_checkpoint

PLATFORM = Catalogue.read(None).find("douyin")
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 62), 1 << 62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


class Desk(JobKeeper):
    """Notes what it is given; refuses checkpoints on request."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.shown: list[tuple[float, float | None]] = []
        self.is_overtaken = False

    async def keep(self, checkpoint: bytes) -> None:
        if self.is_overtaken:
            raise OvertakenError("another attempt has the task")
        self.kept.append(checkpoint)

    def show(self, done: float, total: float | None) -> None:
        self.shown.append((done, total))


def job_with(keeper: JobKeeper) -> PublishJob:
    return PublishJob(task_id="t", data={}, platform=PLATFORM, idempotency_key="k", keeper=keeper)


@given(VALUES)
def test_json_is_saved_as_it_is(value: Any) -> None:
    assert json.loads(encode_checkpoint(value)) == value


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"when": {1, 2}}, r"type set at \$\.when"),
        ({"deep": [b"bytes"]}, r"type bytes at \$\.deep\[0\]"),
        ({1: "a"}, r"key of type int at \$"),
        (math.nan, r"nan at \$"),
        ([math.inf], r"inf at \$\[0\]"),
        (1 << 64, "more than 64 bits"),
        ({"text": "a\0b"}, r"NUL at \$\.text"),
        ({"\0": 1}, r"NUL at \$"),
        ("\ud800", "not Unicode"),
        (nested(DEEPEST + 1), f"more than {DEEPEST} deep"),
        ("x" * MOST_BYTES, "65,538 bytes"),
        ([0] * 10_000_000, "more than 65,536 bytes"),
    ],
)
def test_what_cannot_be_a_checkpoint_is_refused_with_its_place(data: Any, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        encode_checkpoint(data)


def test_the_limits_themselves_are_allowed() -> None:
    assert len(encode_checkpoint("x" * (MOST_BYTES - 2))) == MOST_BYTES
    assert json.loads(encode_checkpoint(nested(DEEPEST))) == nested(DEEPEST)


async def test_a_job_has_what_it_saved_last_and_not_the_publisher_s_own_object() -> None:
    desk = Desk()
    job = job_with(desk)
    data: Any = {"upload": ["a"]}
    await job.checkpoint(data)
    data["upload"].append("b")
    assert desk.kept == [b'{"upload":["a"]}']
    assert job.saved == {"upload": ["a"]}
    await job.checkpoint(None)
    assert job.saved is None


async def test_a_checkpoint_that_is_refused_changes_nothing() -> None:
    desk = Desk()
    job = job_with(desk)
    await job.checkpoint("first")
    desk.is_overtaken = True
    with pytest.raises(OvertakenError):
        await job.checkpoint("second")
    with pytest.raises(CheckpointError):
        await job.checkpoint(object())
    assert job.saved == "first"


async def test_a_job_of_a_test_needs_no_worker() -> None:
    job = PublishJob(task_id="t", data={}, platform=PLATFORM, idempotency_key="k", saved={"upload": 1})
    assert job.saved == {"upload": 1}
    await job.checkpoint({"upload": 2})
    job.progress(1, 2)
    assert job.saved == {"upload": 2}
    assert msgspec.structs.replace(job, attempt=2).saved == {"upload": 2}


def test_progress_is_a_number_or_is_not_shown() -> None:
    desk = Desk()
    job = job_with(desk)
    numbers: list[Any] = [0, 1.5, True, -1, math.nan, math.inf, 1 << 64, "3", None]
    for number in numbers:
        job.progress(number)
    job.progress(1, math.nan)
    assert desk.shown == [(0, None), (1.5, None), (1, None)]
