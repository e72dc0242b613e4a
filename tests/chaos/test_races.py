"""Callers and workers that want the same task at the same moment, through several API processes on one file."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from chaos_kit.checks import Facts
from chaos_kit.load import HANG_S
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass
from everpost.task.model import TaskStatus
from everpost.testing import eventually
from store_kit import StoredTask

pytestmark = pytest.mark.usefixtures("both_stores")

CLIENTS = 100
TASKS = 120
HELD = 30  # the first tasks meet workers that are held up, so that clients win now and then even on a busy machine
AT_ONCE = 25
DELAY_MS = 25
CASES = pytest.mark.parametrize(
    ("publisher_class", "is_flushed"),
    [
        pytest.param(PublisherClass.NONE, False, id="nothing declared"),
        pytest.param(PublisherClass.NONE, True, id="nothing declared, redis loses all", marks=pytest.mark.chaos),
        pytest.param(PublisherClass.KEYED, False, id="keyed", marks=pytest.mark.chaos),
    ],
)


async def ask(client: httpx.AsyncClient, scene: Scene, path: str) -> httpx.Response:
    """POST to one of the APIs."""
    return await client.post(f"{scene.chance.choice(scene.addresses())}/api/v1/tasks/{path}")


async def contend(scene: Scene, verb: str, answers: dict[str, httpx.Response]) -> None:
    """Post tasks, and ask for each of them at once to be cancelled or retried; the answer by task id."""
    room = asyncio.Semaphore(AT_ONCE)

    async def contend_once(client: httpx.AsyncClient) -> None:
        async with room:
            task_id = await scene.load.post(client, scene.chance)
            assert task_id is not None
            answers[task_id] = await ask(client, scene, f"{verb}/{task_id}")

    async with httpx.AsyncClient(timeout=HANG_S) as client:
        await asyncio.gather(*(contend_once(client) for _ in range(TASKS)))


async def all_that_is_left(scene: Scene) -> tuple[Facts, Mapping[str, StoredTask], Counter[str]]:
    """What is left, the rows by task id, and how often each task was sent."""
    verdict = await scene.finish()
    assert verdict.is_good, verdict
    facts = await scene.facts()
    return facts, {row.task_id: row for row in facts.rows}, Counter(effect.task_id for effect in facts.effects)


@pytest.mark.parametrize(
    "is_worker_up",
    [
        pytest.param(False, id="no worker claims it"),
        pytest.param(True, id="a worker claims it", marks=pytest.mark.chaos),
    ],
)
async def test_a_hundred_clients_of_four_apis_that_retry_one_failed_task_make_one_task(
    tmp_path: Path, *, is_worker_up: bool
) -> None:
    scene = Scene(tmp_path, seed=1, publisher_class=PublisherClass.NONE, apis=4, workers=1)
    async with playing(scene), httpx.AsyncClient(timeout=HANG_S) as client:
        scene.close_platform()
        task_id = await scene.load.post(client, scene.chance)
        ended = await client.get(f"{scene.addresses()[0]}/api/v1/tasks/{task_id}", params={"wait": 8})
        assert ended.json()["data"]["status"] == "failed"
        scene.open_platform()
        if not is_worker_up:
            await scene.workers[0].stop()
        answers = await asyncio.gather(*(ask(client, scene, f"retry/{task_id}") for _ in range(CLIENTS)))
        codes = {answer.json().get("code") for answer in answers if answer.status_code != HTTPStatus.OK}
        assert codes <= ({"task_succeeded"} if is_worker_up else set())
        ids = {answer.json()["new_task_id"] for answer in answers if answer.status_code == HTTPStatus.OK}
        assert len(ids) == 1
        facts, rows, effects = await all_that_is_left(scene)
        assert len(facts.rows) == 2
        assert rows[ids.pop()].status == TaskStatus.SUCCESS
        assert effects.total() == 1


@CASES
async def test_a_task_is_either_cancelled_or_sent(
    tmp_path: Path, publisher_class: PublisherClass, *, is_flushed: bool
) -> None:
    scene = Scene(tmp_path, seed=2, publisher_class=publisher_class, apis=2, workers=2, slots=1, delay_ms=DELAY_MS)
    async with playing(scene):
        answers = await contend_and_maybe_flush(scene, "cancel", is_flushed=is_flushed)
        _, rows, effects = await all_that_is_left(scene)
        outcomes: Counter[str] = Counter()
        for task_id, answer in answers.items():
            outcomes[rows[task_id].status] += 1
            if answer.status_code == HTTPStatus.OK:
                assert rows[task_id].status == TaskStatus.CANCELLED
                assert effects[task_id] == 0
            else:
                assert answer.json()["code"] in {"task_running", "task_ended"}
                assert rows[task_id].status in {TaskStatus.SUCCESS, TaskStatus.UNKNOWN}
        assert outcomes[TaskStatus.CANCELLED]
        assert outcomes[TaskStatus.SUCCESS]


@CASES
async def test_a_waiting_task_and_its_retry_are_sent_once_together(
    tmp_path: Path, publisher_class: PublisherClass, *, is_flushed: bool
) -> None:
    scene = Scene(tmp_path, seed=3, publisher_class=publisher_class, apis=2, workers=2, slots=1, delay_ms=DELAY_MS)
    async with playing(scene):
        answers = await contend_and_maybe_flush(scene, "retry", is_flushed=is_flushed)
        facts, rows, effects = await all_that_is_left(scene)
        retries = {row.retry_of: row.task_id for row in facts.rows if row.retry_of}
        assert len(retries) == sum(answer.status_code == HTTPStatus.OK for answer in answers.values())
        for task_id, answer in answers.items():
            if answer.status_code == HTTPStatus.OK:
                assert retries[task_id] == answer.json()["new_task_id"]
                assert rows[task_id].status == TaskStatus.CANCELLED
            else:
                assert answer.json()["code"] in {"task_running", "task_succeeded", "outcome_unknown"}
            assert effects[task_id] + effects[retries.get(task_id, "")] <= 1
        assert retries
        assert len(retries) < TASKS


async def contend_and_maybe_flush(scene: Scene, verb: str, *, is_flushed: bool) -> dict[str, httpx.Response]:
    """`contend`, in the midst of which Redis may lose everything."""
    answers: dict[str, httpx.Response] = {}

    async def are_answered() -> bool:
        return len(answers) >= HELD

    with scene.held_answers():
        contending = asyncio.create_task(contend(scene, verb, answers))
        await eventually(are_answered, what=f"the first {HELD} answers")
    if is_flushed:
        await scene.sent(1)
        await scene.redis.flushall()
    await contending
    return answers
