"""A promotion loses tasks that were accepted and had ended: the workers that ran them record them again, with data."""

from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from chaos_kit.dials import SEED
from chaos_kit.faults import WHILE
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass
from everpost.task.model import TaskStatus
from everpost.task.place import Place
from everpost.testing import eventually
from postgresql.hosts import database_hosts
from store_kit import StoredTask, kit_of

pytestmark = pytest.mark.chaos


async def resume(scene: Scene) -> None:
    """End the pause."""

    async def is_resumed() -> bool:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(f"{scene.addresses()[0]}/api/v1/dispatch/resume")
        return answer.status_code == HTTPStatus.OK

    await eventually(is_resumed, what="the end of the pause")


def successes(scene: Scene) -> dict[str, StoredTask]:
    """The tasks of the history that were published, by their ids."""
    tasks = {task.task_id: task for task in scene.kit.tasks() if task.place is Place.HISTORY}
    return {task_id: task for task_id, task in tasks.items() if task.status == TaskStatus.SUCCESS}


async def test_tasks_that_a_promotion_lost_after_their_end_are_recorded_again_with_their_data(tmp_path: Path) -> None:
    async with database_hosts() as hosts:
        scene = Scene(
            tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, delay_ms=20, clients=6, database=hosts.address
        )
        async with playing(scene):
            scene.load.start()
            await scene.sent(WHILE)
            with hosts.between.black_hole():
                await scene.sent(WHILE)  # the standby never hears of these
                scene.database = hosts.address_of_primary
                ended = successes(scene)
                scene.strike()
                await hosts.kill_primary()
                hosts.between.cut()
            lost = ended.keys() - {task.task_id for task in kit_of(hosts.standby.address()).tasks()}
            assert len(lost) > WHILE // 2
            since = scene.logged()
            await hosts.promote()
            scene.database = hosts.address_of_primary
            await scene.said('"outcomes.recorded_again"', scene.workers, since)
            recorded = successes(scene)
            for task_id in lost:
                assert recorded[task_id].data == ended[task_id].data
                assert scene.kit.columns(Place.HISTORY, task_id, "attempts") != (None,)
            await resume(scene)
            await scene.sent(WHILE)
            verdict = await scene.finish()
    assert verdict.is_good, verdict
