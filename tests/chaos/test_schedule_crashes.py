"""A process dies amid an edit, or while it makes a recurring post's task: nothing is lost, and nothing sent twice."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from chaos_kit.checks import read_effects
from chaos_kit.dials import SEED
from chaos_kit.scene import Scene, playing
from everpost.clock import system_clock, to_text
from everpost.publishing import PublisherClass
from everpost.store import open_store
from everpost.task.place import Place
from everpost.task.recurrence import AHEAD_MS

pytestmark = [pytest.mark.usefixtures("both_stores"), pytest.mark.chaos]

TASK = {"platform": 3, "account_id": "a", "title": "old"}
POINTS = {
    "take_out.after": "old",
    "requeue.before": "new",
    "requeue.after": "new",
}
"""Where the API dies, and the version that the task then has."""


@pytest.mark.parametrize("is_emptied", [False, True], ids=["redis stays", "redis is emptied"])
@pytest.mark.parametrize("point", POINTS)
async def test_an_edit_whose_api_dies_is_done_or_not_and_the_task_is_sent_once(
    tmp_path: Path, point: str, is_emptied: bool
) -> None:
    scene = Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, workers=1)
    async with playing(scene, is_running=False):
        await scene.valkey.start()
        (api,), (worker,) = scene.apis, scene.workers
        await api.start()
        async with httpx.AsyncClient() as client:
            posted = await client.post(f"{api.address}/api/v1/publish", json=TASK)
            task_id = posted.json()["task_id"]
            api.arm(point)
            with pytest.raises(httpx.TransportError):
                await client.patch(f"{api.address}/api/v1/tasks/{task_id}", json={"title": "new", "priority": 1})
        await api.reached(point)
        api.kill()
        if is_emptied:
            await scene.redis.flushall()
        await api.start()
        await worker.start()
        await scene.drained()
        assert [effect.task_id for effect in read_effects(scene.effects)] == [task_id]
        (task,) = scene.kit.tasks()
        assert (task.place, task.status, task.title, task.data["title"]) == (
            Place.HISTORY, "success", POINTS[point], POINTS[point],
        )  # fmt: skip
        assert scene.kit.find_faults() == []


@pytest.mark.parametrize("point", ["recurring.before", "recurring.after"])
async def test_an_occurrence_whose_worker_dies_is_one_task_and_sent_once(tmp_path: Path, point: str) -> None:
    scene = Scene(tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, workers=1)
    async with playing(scene, is_running=False):
        await scene.valkey.start()
        (api,), (worker,) = scene.apis, scene.workers
        await api.start()
        body: dict[str, Any] = {"name": "r", "cron": "0 0 29 2 *", "data": TASK}
        async with httpx.AsyncClient() as client:
            added = await client.post(f"{api.address}/api/v1/recurring", json=body)
            assert added.status_code == 201, added.text
        await worker.start()
        worker.arm(point)
        due_ms = await set_next(scene.database, AHEAD_MS + 100)
        await worker.reached(point)
        worker.kill()
        await worker.start()
        await scene.sent(1)
        await scene.drained()
        (task,) = scene.kit.tasks()
        (effect,) = read_effects(scene.effects)
        assert (effect.task_id, task.status, task.title) == (task.task_id, "success", "old")
        assert system_clock() >= due_ms


async def set_next(database: str, in_ms: int) -> int:
    """Let the next occurrence of the recurring post be that soon; when it is."""
    store = await open_store(database)
    try:
        found = await store.recurring.find("r")
        assert found is not None
        due_ms = system_clock() + in_ms
        assert await store.recurring.change(found, replace(found, next_at=to_text(due_ms)), None, system_clock())
        return due_ms
    finally:
        await store.close()
