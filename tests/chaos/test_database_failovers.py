"""A standby of PostgreSQL is promoted under load: the whole stack goes on by itself, or pauses and says what to do."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chaos_kit.checks import count_effects
from chaos_kit.faults import WHILE
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass
from everpost.task.model import TaskStatus
from everpost.testing import eventually
from postgresql.hosts import DatabaseHosts, database_hosts

SEED = int(os.environ.get("EVERPOST_CHAOS_SEED") or 20_260)
CLIENTS = 6
DISPATCH_S = 10.0  # from the promotion to the next effects

pytestmark = pytest.mark.chaos


@pytest_asyncio.fixture
async def hosts() -> AsyncIterator[DatabaseHosts]:
    async with database_hosts() as hosts:
        yield hosts


def scene_of(folder: Path, hosts: DatabaseHosts, **options: Any) -> Scene:
    return Scene(
        folder, seed=SEED, publisher_class=PublisherClass.NONE, clients=CLIENTS, database=hosts.address, **options
    )


def tell(text: str) -> None:
    """Print a figure, as `make chaos` shows it."""
    sys.stdout.write(f"\n{text}\n")


async def ask(scene: Scene, path: str, **options: Any) -> httpx.Response:
    """The answer of an API."""
    async with httpx.AsyncClient(timeout=10) as client:
        return await client.get(scene.addresses()[0] + path, **options)


async def is_paused(scene: Scene) -> bool:
    answer = await ask(scene, "/health/ready")
    if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
        return False
    return any(check["name"] == "dispatch" and not check["ok"] for check in answer.json()["checks"])


async def resume(scene: Scene) -> dict[str, Any]:
    async def resumed() -> httpx.Response | None:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(f"{scene.addresses()[0]}/api/v1/dispatch/resume")
        return answer if answer.is_success else None

    answer = await eventually(resumed, what="the end of the pause")
    assert answer is not None
    found: dict[str, Any] = answer.json()
    return found


async def goes_on(scene: Scene) -> float:
    """Wait for the next effect; how long that took."""
    begun_s = time.monotonic()
    async with asyncio.timeout(DISPATCH_S):
        await scene.sent(1)
    took_s = time.monotonic() - begun_s
    await scene.sent(WHILE)
    return took_s


async def finish(scene: Scene, hosts: DatabaseHosts) -> None:
    """Check everything on the server that is the primary now."""
    scene.database = hosts.address_of_primary
    verdict = await scene.finish()
    assert verdict.is_good, verdict
    lacking = [row for row in scene.kit.tasks() if row.data is None]
    tell(f"{len(lacking)} tasks without data, known only from results of successes in Redis")
    of_workers = [row for row in lacking if scene.kit.columns(row.place, row.task_id, "attempts") != (None,)]
    assert of_workers == []  # a worker has the data of what it ends
    assert all(row.status == TaskStatus.SUCCESS for row in lacking)


async def pauses_and_resumes(scene: Scene) -> None:
    """Wait for the pause; new tasks are accepted meanwhile, and none is sent. Then end it."""
    await eventually(lambda: is_paused(scene), what="the pause")
    await scene.load.more(WHILE)  # the last answers of the platform
    sent = count_effects(scene.effects)
    await scene.load.more(WHILE)
    assert count_effects(scene.effects) == sent
    await resume(scene)
    await scene.sent(WHILE)


async def test_a_promoted_synchronous_standby_is_used_without_a_pause(tmp_path: Path, hosts: DatabaseHosts) -> None:
    hosts.make_synchronous()
    scene = scene_of(tmp_path, hosts)
    async with playing(scene):
        scene.load.start()
        await scene.sent(WHILE)
        scene.strike()
        await hosts.kill_primary()
        await hosts.promote()
        tell(f"sent again {await goes_on(scene):.1f} s after the promotion")
        assert not await is_paused(scene)
        await finish(scene, hosts)


async def switch_over(scene: Scene, hosts: DatabaseHosts) -> None:
    """Change the roles of the two servers under load; Everpost goes on by itself."""
    await scene.sent(WHILE)
    scene.strike()
    await hosts.switch_over()
    tell(f"sent again {await goes_on(scene):.1f} s after the switch-over")
    assert not await is_paused(scene)


async def test_an_old_primary_that_comes_back_as_a_standby_is_used_when_it_is_promoted_again(
    tmp_path: Path, hosts: DatabaseHosts
) -> None:
    hosts.make_synchronous()
    scene = scene_of(tmp_path, hosts)
    async with playing(scene):
        scene.load.start()
        await switch_over(scene, hosts)
        since = scene.logged()
        hosts.make_synchronous()  # the new primary has no standby before that
        await scene.said('"database.replication_changed"', [*scene.apis, *scene.workers], since)
        await switch_over(scene, hosts)
        await finish(scene, hosts)


async def test_a_promotion_that_lost_commits_pauses_dispatch_and_repeats_nothing(
    tmp_path: Path, hosts: DatabaseHosts
) -> None:
    scene = scene_of(tmp_path, hosts, may_lack_data=True)
    async with playing(scene):
        scene.load.start()
        await scene.sent(WHILE)
        with hosts.between.black_hole():
            await scene.sent(WHILE)  # the standby never hears of these
            scene.strike()
            await hosts.kill_primary()
            hosts.between.cut()
        await hosts.promote()
        await pauses_and_resumes(scene)
        await finish(scene, hosts)


async def test_an_old_primary_that_still_answers_is_left_and_nothing_is_sent_twice(
    tmp_path: Path, hosts: DatabaseHosts
) -> None:
    """The two servers are cut off from each other only, so what is written to the old one is lost."""
    scene = scene_of(tmp_path, hosts, apis=2, may_lack_data=True)
    async with playing(scene):
        scene.load.start()
        await scene.sent(WHILE)
        with hosts.between.black_hole():
            scene.strike()
            await hosts.promote()
            await pauses_and_resumes(scene)
            await finish(scene, hosts)


async def test_a_worker_that_reaches_only_the_old_primary_sends_nothing_that_others_send(
    tmp_path: Path, hosts: DatabaseHosts
) -> None:
    scene = scene_of(tmp_path, hosts, may_lack_data=True)
    scene.workers[0].set("EVERPOST_DATABASE", f"postgresql://everpost@127.0.0.1:{hosts.to_primary.port}/postgres")
    async with playing(scene):
        scene.load.start()
        await scene.sent(WHILE)
        with hosts.between.black_hole():
            scene.strike()
            await hosts.promote()
            await pauses_and_resumes(scene)
            scene.workers[0].set("EVERPOST_DATABASE", hosts.address)
            await scene.workers[0].stop()  # it holds what it was sending, since it cannot record how that ended
            await finish(scene, hosts)


async def test_nothing_is_acknowledged_while_the_synchronous_standby_is_away(
    tmp_path: Path, hosts: DatabaseHosts
) -> None:
    hosts.make_synchronous()
    # Every answer waits for 4.5 s, and the usual limit is 5 s: too close for a machine that runs three scenes at once.
    scene = scene_of(tmp_path, hosts, slowest_s=6.0)
    async with playing(scene):
        scene.load.start()
        await scene.sent(WHILE)
        with hosts.between.black_hole():
            scene.strike()
            await scene.load.refused(CLIENTS)
            acked = len(scene.load.acked)
            await scene.load.refused(CLIENTS)
            assert len(scene.load.acked) == acked
            ready = await ask(scene, "/health/ready")
            assert ready.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            tell(ready.text)
        tell(f"sent again {await goes_on(scene):.1f} s after the standby was back")
        await finish(scene, hosts)
