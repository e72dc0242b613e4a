"""A process dies at each named point of a task's way, with each class of publisher: docs/failpoints.md."""

import os
from pathlib import Path

import pytest

from chaos_kit.checks import Verdict
from chaos_kit.faults import API_POINTS, FAULTS, WORKER_POINTS, do
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass

SEED = int(os.environ.get("EVERPOST_CHAOS_SEED") or 20_260)
DOCUMENT = (Path(__file__).parents[2] / "docs" / "failpoints.md").read_text("utf-8")
CRASHES = [name for name in FAULTS if name.startswith("crash_")]
MID_SEND = ["send.amid", "send.accepted"]


def test_every_point_of_the_document_is_crashed_at() -> None:
    crashed_at = {*API_POINTS, *WORKER_POINTS, "withdraw.after"}
    assert {point for point in crashed_at if f"| `{point}` |" in DOCUMENT or f"`{point}`, " in DOCUMENT} == crashed_at


async def crash(folder: Path, publisher_class: PublisherClass, crashes: list[str]) -> Verdict:
    async with playing(Scene(folder, seed=SEED, publisher_class=publisher_class, clients=6)) as scene:
        scene.load.start()
        for name in crashes:
            await do(scene, name)
        verdict = await scene.finish()
        assert verdict.is_good, verdict
        return verdict


async def test_crashes_of_the_api_at_every_point_lose_and_repeat_nothing(tmp_path: Path) -> None:
    await crash(tmp_path, PublisherClass.NONE, [f"crash_api at {point}" for point in API_POINTS])


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(WORKER_POINTS, id="before, amid and after", marks=pytest.mark.chaos),
        pytest.param([point for point in WORKER_POINTS if point.endswith(".after")], id="after"),
    ],
)
async def test_crashes_of_workers_at_every_point_lose_and_repeat_nothing(tmp_path: Path, points: list[str]) -> None:
    await crash(tmp_path, PublisherClass.NONE, [f"crash_worker at {point}" for point in points])


@pytest.mark.parametrize(
    "publisher_class",
    [
        pytest.param(PublisherClass.LOCAL, marks=pytest.mark.chaos),
        pytest.param(PublisherClass.KEYED, marks=pytest.mark.chaos),
        PublisherClass.CHECKABLE,
    ],
)
async def test_crashes_of_workers_mid_send_leave_nothing_to_decide_if_the_class_decides(
    tmp_path: Path, publisher_class: PublisherClass
) -> None:
    await crash(tmp_path, publisher_class, [f"crash_worker at {point}" for point in MID_SEND])


@pytest.mark.chaos
@pytest.mark.parametrize("name", CRASHES)
@pytest.mark.parametrize("publisher_class", PublisherClass)
async def test_one_crash_at_one_point_of_a_fresh_stack(
    tmp_path: Path, publisher_class: PublisherClass, name: str
) -> None:
    verdict = await crash(tmp_path, publisher_class, [name])
    may_be_unknown = publisher_class is PublisherClass.NONE and "worker" in name  # which is sending other posts
    assert verdict.unknown == 0 or may_be_unknown
