"""A process dies at each named point of a task's way, with each class of publisher: docs/failpoints.md."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from arq.connections import ArqRedis
from arq.jobs import Serializer
from redis.asyncio import ConnectionPool, UnixDomainSocketConnection

from chaos_kit.checks import Verdict, read_effects
from chaos_kit.dials import SEED, some
from chaos_kit.faults import API_POINTS, FAULTS, WORKER_POINTS, do
from chaos_kit.scene import Scene, playing
from everpost.clock import from_text, system_clock
from everpost.publishing import PublisherClass
from everpost.queue.codec import is_pickle, serialize
from everpost.task.place import Place
from everpost.testing import eventually

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

DOCUMENT = (Path(__file__).parents[2] / "docs" / "failpoints.md").read_text("utf-8")
CRASHES = [name for name in FAULTS if name.startswith("crash_")]
MID_SEND = ["send.amid", "send.accepted"]
STOCK = {"platform": 3, "account_id": "stock", "title": "from arq"}
AMID_CANCEL = "crash_api_amid_cancel"  # it takes half a minute; the class says nothing about a task that was not sent
ONE_CRASH = [(publisher_class, name) for publisher_class in PublisherClass for name in CRASHES if name != AMID_CANCEL]
CRASH_AMID_CANCEL = (PublisherClass.NONE, AMID_CANCEL)
ON_POSTGRESQL = 15
ONE_RETRY = ("/api/v1/tasks/retry/stock", None)
BULK_RETRY = ("/api/v1/tasks/batch/retry", {"task_ids": ["stock"]})


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


async def enqueue_stock_job(scene: Scene, serializer: Serializer | None, **options: Any) -> None:
    """As a stock arq client does; without a serializer, with arq's own."""
    pool = ConnectionPool(connection_class=UnixDomainSocketConnection, path=str(scene.valkey.socket))
    client = ArqRedis(pool, job_serializer=serializer)
    await client.enqueue_job("publish", STOCK, _job_id="stock", **options)
    await client.aclose(close_connection_pool=True)


async def crash_amid_retry(scene: Scene, path: str, body: Mapping[str, Any] | None) -> None:
    """Kill -9 of the API when it has taken the stock job out of Redis, and Redis forgets that it did."""
    (api,) = scene.apis
    api.arm("withdraw.after")
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.TransportError):
            await client.post(api.address + path, json=body)
    await api.reached("withdraw.after")
    api.kill()
    await scene.redis.flushall()


@pytest.mark.parametrize(("path", "body"), [ONE_RETRY, pytest.param(*BULK_RETRY, marks=pytest.mark.chaos)])
async def test_a_stock_job_that_was_never_claimed_outlives_a_crash_amid_its_retry(
    tmp_path: Path, path: str, body: Mapping[str, Any] | None
) -> None:
    scene = Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, workers=1)
    async with playing(scene, is_running=False):
        await scene.valkey.start()
        await scene.apis[0].start()
        await enqueue_stock_job(scene, serialize)
        await crash_amid_retry(scene, path, body)
        await scene.workers[0].start()
        await scene.sent(1)
        await scene.drained()
        assert [effect.task_id for effect in read_effects(scene.effects)] == ["stock"]
        assert [(task.place, task.status, task.data) for task in scene.kit.tasks()] == [
            (Place.HISTORY, "success", STOCK)
        ]


async def test_a_stock_job_for_later_keeps_its_time_and_its_serializer_when_its_retry_crashes(tmp_path: Path) -> None:
    scene = Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, workers=1)
    async with playing(scene, is_running=False):
        await scene.valkey.start()
        await scene.apis[0].start()
        due_ms = system_clock() + 3_600_000
        await enqueue_stock_job(scene, None, _defer_by=timedelta(hours=1))
        await crash_amid_retry(scene, *ONE_RETRY)
        await scene.workers[0].start()

        async def is_back() -> bool:
            return await scene.redis.zscore("arq:queue", "stock") is not None

        await eventually(is_back)
        due_at, status = scene.kit.columns(Place.LEDGER, "stock", "due_at", "status")
        assert due_ms <= (from_text(due_at) or 0) < due_ms + 60_000
        assert status == "scheduled"
        assert await scene.redis.zscore("arq:queue", "stock") == from_text(due_at)
        assert is_pickle(await scene.redis.get("arq:job:stock") or b"")


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("both_stores_in_chaos", "publisher_class", "name"),
    [("sqlite", *crash) for crash in (*ONE_CRASH, CRASH_AMID_CANCEL)]
    + [("postgresql", *crash) for crash in (*some(ONE_CRASH, ON_POSTGRESQL), CRASH_AMID_CANCEL)],
    indirect=["both_stores_in_chaos"],
)
async def test_one_crash_at_one_point_of_a_fresh_stack(
    tmp_path: Path, publisher_class: PublisherClass, name: str
) -> None:
    verdict = await crash(tmp_path, publisher_class, [name])
    may_be_unknown = publisher_class is PublisherClass.NONE and "worker" in name  # which is sending other posts
    assert verdict.unknown == 0 or may_be_unknown
