"""Different requests for one task while it ends, or later: it stays in one place, and has one retry."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaos_kit.checks import Facts
from chaos_kit.load import HANG_S
from chaos_kit.scene import Scene, playing
from everpost.clock import system_clock, to_text
from everpost.publishing import PublisherClass
from everpost.task.model import TaskStatus
from everpost.task.place import Place

pytestmark = pytest.mark.usefixtures("both_stores")

TASKS = 20
CALLERS = 4
ROUNDS = 3
TASKS_API = "/api/v1/tasks"


@asynccontextmanager
async def contest(folder: Path, seed: int) -> AsyncIterator[tuple[Scene, httpx.AsyncClient]]:
    scene = Scene(folder, seed=seed, publisher_class=PublisherClass.NONE, apis=2, workers=2, delay_ms=4)
    async with playing(scene), httpx.AsyncClient(timeout=HANG_S) as client:
        yield scene, client


async def ask(scene: Scene, client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response:
    """Ask one of the APIs."""
    return await client.request(method, f"{scene.chance.choice(scene.addresses())}{TASKS_API}{path}", **options)


async def post_and_end(scene: Scene, client: httpx.AsyncClient) -> list[str]:
    """Tasks that have ended."""

    async def post_one() -> str:
        task_id = await scene.load.post(client, scene.chance)
        ended = await ask(scene, client, "GET", f"/{task_id}", params={"wait": 8})
        assert ended.json()["data"]["status"] in {TaskStatus.SUCCESS, TaskStatus.FAILED}
        return str(task_id)

    return await asyncio.gather(*(post_one() for _ in range(TASKS)))


async def facts_at_the_end(scene: Scene) -> Facts:
    verdict = await scene.finish()
    assert verdict.is_good, verdict
    return await scene.facts()


def new_ids(answers: list[httpx.Response]) -> set[str]:
    return {answer.json()["new_task_id"] for answer in answers if answer.status_code == HTTPStatus.OK}


async def test_a_retry_asked_for_while_its_task_fails_never_runs_beside_another(tmp_path: Path) -> None:
    async with contest(tmp_path, seed=11) as (scene, client):
        scene.close_platform()
        told: set[str] = set()

        async def retry_again_and_again() -> None:
            task_id = await scene.load.post(client, scene.chance)
            for _ in range(ROUNDS):
                calls = [ask(scene, client, "POST", f"/retry/{task_id}") for _ in range(CALLERS)]
                told.update(new_ids(await asyncio.gather(*calls)))

        retrying = asyncio.gather(*(retry_again_and_again() for _ in range(TASKS)))
        while not retrying.done():
            assert scene.kit.find_chains_twice_alive() == []
            await asyncio.wait([retrying], timeout=0.001)
        await retrying
        facts = await facts_at_the_end(scene)
    retries = Counter(row.retry_of for row in facts.rows if row.retry_of)
    assert {row.task_id for row in facts.rows if row.retry_of} == told
    assert max(retries.values()) > 1


async def test_a_failed_task_that_is_deleted_and_retried_at_once_is_archived_and_has_one_retry(tmp_path: Path) -> None:
    async with contest(tmp_path, seed=12) as (scene, client):
        scene.close_platform()
        task_ids = await post_and_end(scene, client)
        scene.open_platform()

        async def contend(task_id: str) -> list[httpx.Response]:
            retries = [ask(scene, client, "POST", f"/retry/{task_id}") for _ in range(CALLERS)]
            deletions = [ask(scene, client, "DELETE", f"/{task_id}") for _ in range(2)]
            answers = await asyncio.gather(*retries, *deletions)
            assert HTTPStatus.OK in {answer.status_code for answer in answers[CALLERS:]}
            return answers[:CALLERS]

        retries = [new_ids(answers) for answers in await asyncio.gather(*map(contend, task_ids))]
        facts = await facts_at_the_end(scene)
    rows = {row.task_id: row for row in facts.rows}
    effects = Counter(effect.task_id for effect in facts.effects)
    assert len(facts.rows) == 2 * TASKS
    assert {rows[task_id].place for task_id in task_ids} == {Place.ARCHIVE}
    for ids in retries:
        (new_id,) = ids
        assert (rows[new_id].place, rows[new_id].status, effects[new_id]) == (Place.HISTORY, "success", 1)


async def test_a_success_that_is_archived_and_sent_again_at_once_is_archived_and_each_retry_is_sent_once(
    tmp_path: Path,
) -> None:
    async with contest(tmp_path, seed=13) as (scene, client):
        task_ids = await post_and_end(scene, client)
        calls = [
            ask(scene, client, "POST", f"/retry/{task_id}", params={"force": "true"})
            for task_id in task_ids
            for _ in range(CALLERS)
        ]
        calls.insert(len(calls) // 2, ask(scene, client, "POST", "/archive", json={"older_than_days": 0}))
        answers = await asyncio.gather(*calls)
        facts = await facts_at_the_end(scene)
    assert {answer.status_code for answer in answers} == {HTTPStatus.OK}
    rows = {row.task_id: row for row in facts.rows}
    assert {rows[task_id].place for task_id in task_ids} == {Place.ARCHIVE}
    told = Counter(answer.json()["new_task_id"] for answer in answers if "new_task_id" in answer.json())
    assert {rows[task_id].retry_of for task_id in told} == set(task_ids)
    assert {row.task_id for row in facts.rows if row.retry_of} == set(told)
    assert all(count == 1 for count in Counter(effect.task_id for effect in facts.effects).values())


def assert_each_sent_once(facts: Facts, task_ids: list[str]) -> None:
    """Each chain of retries was sent once, because a chain with a success needs force."""
    chain_of = {row.task_id: row.chain_id for row in facts.rows}
    sent = Counter(chain_of[effect.task_id] for effect in facts.effects)
    assert sent == dict.fromkeys(task_ids, 1)


@pytest.mark.chaos
async def test_a_failed_task_that_goes_and_comes_back_while_it_is_retried_is_sent_once(tmp_path: Path) -> None:
    async with contest(tmp_path, seed=14) as (scene, client):
        scene.close_platform()
        task_ids = await post_and_end(scene, client)
        scene.open_platform()

        async def contend(task_id: str) -> None:
            for _ in range(ROUNDS):
                calls = [
                    *(ask(scene, client, "POST", f"/retry/{task_id}") for _ in range(2)),
                    *(ask(scene, client, "DELETE", f"/{task_id}") for _ in range(2)),
                    *(ask(scene, client, "POST", f"/{task_id}/bring-back") for _ in range(CALLERS)),
                ]
                scene.chance.shuffle(calls)
                answers = await asyncio.gather(*calls)
                assert {answer.status_code for answer in answers} <= {200, 404, 409}, [each.text for each in answers]

        contending = asyncio.gather(*map(contend, task_ids))
        while not contending.done():
            assert scene.kit.find_chains_twice_alive() == []
            await asyncio.wait([contending], timeout=0.01)
        await contending
        facts = await facts_at_the_end(scene)
    assert_each_sent_once(facts, task_ids)


@pytest.mark.chaos
async def test_a_cancellation_that_is_undone_while_its_tasks_are_retried_and_removed_sends_each_once(
    tmp_path: Path,
) -> None:
    async with contest(tmp_path, seed=15) as (scene, client):
        later = to_text(system_clock() + 2_000)
        posts = (scene.load.post(client, scene.chance, schedule_time=later) for _ in range(TASKS))
        task_ids = list(map(str, await asyncio.gather(*posts)))
        cancelled = await ask(scene, client, "POST", "/batch/cancel", json={"task_ids": task_ids})
        assert cancelled.json()["success_count"] == TASKS, cancelled.text
        undo = f"/../operations/{cancelled.json()['operation_id']}/undo"
        calls = [ask(scene, client, "POST", undo) for _ in range(CALLERS)]
        for task_id in task_ids:
            calls += [ask(scene, client, "POST", f"/retry/{task_id}") for _ in range(2)]
            calls.append(ask(scene, client, "DELETE", f"/{task_id}"))
            calls.append(ask(scene, client, "POST", f"/{task_id}/bring-back"))
        scene.chance.shuffle(calls)
        answers = await asyncio.gather(*calls)
        assert {answer.status_code for answer in answers} <= {200, 404, 409}, [each.text for each in answers]
        facts = await facts_at_the_end(scene)
    assert_each_sent_once(facts, task_ids)
