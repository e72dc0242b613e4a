"""A platform or an account that is paused by hand: its tasks wait outside the queue, and nothing loses them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from everpost.cli.queue_checkup import check_redis
from everpost.clock import system_clock
from everpost.queue.keys import LATE, QUEUE_NAMES
from everpost.testing import Stack, eventually, everpost_stack
from everpost_workers.publish_worker import CHANGES_S
from everpost_workers.upkeep.relay import FRESH_MS, Relay

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

DOUYIN = {"platform": "douyin"}
SHOP = {"platform": "douyin", "account_id": "shop"}


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[Stack]:
    """A stack without a worker."""
    async with everpost_stack(workers=0) as stack:
        yield stack


async def ask(stack: Stack, action: str, **body: Any) -> dict[str, Any]:
    answer = await stack.client.post(f"/api/v1/limits/{action}", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def pause(stack: Stack, reason: str = "It is down.", **scope: Any) -> dict[str, Any]:
    return await ask(stack, "pause", reason=reason, by="mei", **scope)


async def parked(stack: Stack, count: int = 1) -> None:
    """Wait until so many tasks are parked, and no worker holds one."""

    async def is_so() -> bool:
        held = await stack.queue.redis.keys("arq:in-progress:*")
        return await stack.queue.gates.count_parked() == count and not held

    await eventually(is_so, what=f"{count} parked tasks")


async def queued(stack: Stack) -> int:
    return sum([int(await stack.queue.redis.zcard(name)) for name in QUEUE_NAMES])


async def statuses(stack: Stack, *task_ids: str) -> set[str]:
    return {(await stack.wait_until_ended(task_id))["status"] for task_id in task_ids}


def relay_of(stack: Stack) -> Relay:
    """A relay for which everything accepted so far is old enough to be looked for."""
    return Relay(stack.store, stack.queue, lambda: system_clock() + 2 * FRESH_MS)


async def test_a_pause_of_a_platform_without_limits_holds_as_soon_as_the_worker_knows_it(stack: Stack) -> None:
    await stack.start_worker()
    assert await statuses(stack, await stack.publish(**DOUYIN)) == {"success"}
    await pause(stack, **DOUYIN)

    async def is_held() -> bool:
        task_id = await stack.publish(**DOUYIN)
        task = await stack.client.get(f"/api/v1/tasks/{task_id}", params={"wait": 0.1})
        return task.json()["data"]["waits_for"] is not None

    await eventually(is_held, what="a task that waits")
    later = [await stack.publish(**DOUYIN) for _ in range(20)]
    await eventually(lambda: has_parked(stack, 21), what="all later tasks to wait")
    assert [stack.publisher.times_published(task_id) for task_id in later] == [0] * 20
    assert CHANGES_S <= 0.5, "docs/limits.md promises a second"


async def has_parked(stack: Stack, least: int) -> bool:
    return await stack.queue.gates.count_parked() >= least


async def test_what_tasks_wait_for_is_seen_in_lists_health_metrics_and_by_the_doctor(stack: Stack) -> None:
    await pause(stack, platform="douyin")
    await pause(stack, "captcha", platform="bilibili", account_id="studio")
    await stack.start_worker()
    waiting = [await stack.publish(**DOUYIN, account_id=f"a{number}") for number in range(2)]
    studio = await stack.publish(platform="bilibili", account_id="studio")
    other = await stack.publish(platform="bilibili", account_id="other")
    assert await statuses(stack, other) == {"success"}
    await parked(stack, 3)
    of_douyin = {"kind": "paused", "scope": "douyin", "reason": "It is down.", "until": None}
    of_studio = {"kind": "paused", "scope": "bilibili/studio", "reason": "captcha", "until": None}
    rows = (await stack.client.get("/api/v1/tasks")).json()["data"]
    assert {row["task_id"]: row["waits_for"] for row in rows} == {
        waiting[0]: of_douyin, waiting[1]: of_douyin, studio: of_studio, other: None
    }  # fmt: skip
    queue = (await stack.client.get("/api/v1/tasks/health")).json()["queue"]
    assert queue["parked"] == 3
    assert [(wait["scope"], wait["kind"], wait["tasks"], wait["reason"]) for wait in queue["waits"]] == [
        ("douyin", "paused", 2, "It is down."), ("bilibili/studio", "paused", 1, "captcha")
    ]  # fmt: skip
    metrics = (await stack.client.get("/metrics")).text
    for sample in ('{kind="paused",platform="douyin"} 2.0', '{kind="paused",platform="bilibili"} 1.0'):
        assert f"everpost_parked_tasks{sample}" in metrics
    seen = [finding for finding in await check_redis(stack.settings, None) if finding.name == "parked tasks"]
    since = queue["waits"][0]["since"]
    assert seen[0].value == f"2 tasks wait for douyin: paused since {since}, It is down."
    assert seen[0].advice == "`everpost limits resume --platform douyin` lets them go on."


async def test_tasks_of_a_paused_platform_wait_visibly_and_run_once_it_is_resumed(stack: Stack) -> None:
    await pause(stack, platform="抖音")
    await stack.start_worker()
    waiting = [await stack.publish(**DOUYIN, account_id=f"a{number}") for number in range(3)]
    other = await stack.publish(platform="bilibili")
    assert await statuses(stack, other) == {"success"}
    await parked(stack, 3)
    shown = await stack.task(waiting[0])
    assert (shown["status"], shown["attempts"], shown["attempts_spent"]) == ("pending", [], 0)
    assert shown["waits_for"] == {"kind": "paused", "scope": "douyin", "reason": "It is down.", "until": None}
    await ask(stack, "resume", **DOUYIN)
    for task_id in waiting:
        task = await stack.wait_until_ended(task_id)
        assert (task["status"], len(task["attempts"]), task["waits_for"]) == ("success", 1, None)
    assert [stack.publisher.times_published(task_id) for task_id in waiting] == [1, 1, 1]
    assert await stack.queue.gates.count_parked() == 0


async def test_a_pause_of_an_account_holds_that_account_only_and_is_noticed_by_a_worker_that_runs(stack: Stack) -> None:
    worker = await stack.start_worker()
    await eventually(lambda: is_started(stack), what="a worker")
    await pause(stack, **SHOP)

    async def is_noticed() -> bool:
        await stack.publish(**SHOP)
        return await stack.queue.gates.count_parked() > 0

    await eventually(is_noticed, what="a parked task")
    other = await stack.publish(**DOUYIN, account_id="other")
    assert await statuses(stack, other) == {"success"}
    assert worker.jobs_failed == 0
    await ask(stack, "resume", **SHOP)
    await stack.drain()


async def is_started(stack: Stack) -> bool:
    return bool(await stack.queue.workers.living())


async def test_a_parked_task_ends_as_missed_at_its_limit_and_not_when_its_wait_ends(stack: Stack) -> None:
    await pause(stack, **SHOP)
    await stack.start_worker()
    missed, stays = await stack.publish(**SHOP, late_after_s=1), await stack.publish(**SHOP)
    await parked(stack, 2)
    ended = await stack.wait_until_ended(missed)
    assert (ended["status"], ended["error_class"], ended["attempts"]) == ("failed", "missed", [])
    assert (await stack.task(stays))["waits_for"]["kind"] == "paused"
    assert await stack.queue.redis.exists(LATE) == 0
    await ask(stack, "resume", **SHOP)
    assert await statuses(stack, stays) == {"success"}
    assert [job.task_id for job in stack.publisher.published] == [stays]


async def test_the_limit_of_a_parked_task_follows_its_edits_and_an_emptied_redis(stack: Stack) -> None:
    await pause(stack, **SHOP)
    await stack.start_worker()
    shorter, freed = await stack.publish(**SHOP, late_after_s=3_600), await stack.publish(**SHOP, late_after_s=3)
    await parked(stack, 2)
    for task_id, late_after_s in ((shorter, 2), (freed, None)):
        answer = await stack.client.patch(f"/api/v1/tasks/{task_id}", json={"late_after_s": late_after_s})
        assert answer.status_code == 200, answer.text
    await stack.queue.redis.flushall()
    relay = relay_of(stack)
    relay.look_again(after_ms=0)
    await relay.tick()
    assert (await stack.wait_until_ended(shorter))["error_class"] == "missed"
    await parked(stack, 1)
    assert (await stack.task(freed))["waits_for"]["kind"] == "paused"


async def test_parked_tasks_can_be_cancelled_and_retried(stack: Stack) -> None:
    await pause(stack, **SHOP)
    await stack.start_worker()
    cancelled, retried = [await stack.publish(**SHOP, title=title) for title in ("cancelled", "retried")]
    await parked(stack, 2)
    answer = await stack.client.post(f"/api/v1/tasks/cancel/{cancelled}")
    assert answer.json()["status"] == "cancelled"
    new = await stack.retry(retried)
    await parked(stack, 1)
    assert (await stack.task(new))["waits_for"]["scope"] == "douyin/shop"
    await ask(stack, "resume", **SHOP)
    assert await statuses(stack, new) == {"success"}
    assert [job.data["title"] for job in stack.publisher.published] == ["retried"]


async def test_parked_tasks_can_be_edited_and_wait_on_unless_their_account_is_another(stack: Stack) -> None:
    await pause(stack, **SHOP)
    await stack.start_worker()
    stays, leaves = [await stack.publish(**SHOP, title=title) for title in ("stays", "leaves")]
    await parked(stack, 2)
    for task_id, patch in ((stays, {"title": "edited"}), (leaves, {"account_id": "other"})):
        answer = await stack.client.patch(f"/api/v1/tasks/{task_id}", json=patch)
        assert answer.status_code == 200, answer.text
    assert await statuses(stack, leaves) == {"success"}
    await parked(stack, 1)
    now = await stack.client.post(f"/api/v1/tasks/{stays}/publish-now")
    assert now.status_code == 200, now.text
    await parked(stack, 1)
    await ask(stack, "resume", **SHOP)
    assert await statuses(stack, stays) == {"success"}
    assert [job.data["title"] for job in stack.publisher.published] == ["leaves", "edited"]


async def test_the_more_urgent_of_an_account_s_parked_tasks_go_first(stack: Stack) -> None:
    await pause(stack, **SHOP)
    await stack.start_worker()
    usual = [await stack.publish(**SHOP, title=str(number)) for number in range(3)]
    await parked(stack, 3)
    urgent = await stack.publish(**SHOP, title="urgent", priority=0)
    await parked(stack, 4)
    answers = [(await stack.client.get(f"/api/v1/tasks/{task_id}")).json() for task_id in (urgent, *usual)]
    assert [answer["queue_position"] for answer in answers] == [0, 1, 2, 3]


async def test_the_relay_leaves_parked_tasks_where_they_are(stack: Stack) -> None:
    await pause(stack, **DOUYIN)
    await stack.start_worker()
    await stack.publish(**DOUYIN)
    await parked(stack)
    relay = relay_of(stack)
    relay.look_again(after_ms=0)
    assert await relay.tick() == 0
    assert await queued(stack) == 0


async def test_parked_tasks_that_redis_lost_come_back_wait_again_and_run(stack: Stack) -> None:
    await pause(stack, **DOUYIN)
    await stack.start_worker()
    waiting = [await stack.publish(**DOUYIN, account_id=f"a{number}") for number in range(3)]
    await parked(stack, 3)
    await stack.flush_redis()
    await parked(stack, 3)  # the relay brought them, and the worker has told Redis the pause
    assert stack.publisher.attempts == []
    await ask(stack, "resume", **DOUYIN)
    assert await statuses(stack, *waiting) == {"success"}
    assert [stack.publisher.times_published(task_id) for task_id in waiting] == [1, 1, 1]


async def test_a_parked_task_whose_lane_nothing_waits_for_goes_back_into_its_queue(stack: Stack) -> None:
    await pause(stack, **DOUYIN)
    await stack.start_worker()
    task_id = await stack.publish(**DOUYIN)
    await parked(stack)
    await stack.queue.redis.delete("everpost:lanes", "everpost:behind:douyin", "everpost:openings")
    await ask(stack, "resume", **DOUYIN)
    assert await stack.queue.gates.count_parked() == 1
    relay = relay_of(stack)
    relay.look_again(after_ms=0)
    await relay.tick()
    assert await statuses(stack, task_id) == {"success"}


async def test_the_first_pause_counts_and_a_second_resume_changes_nothing(stack: Stack) -> None:
    await pause(stack, "The first.", **DOUYIN)
    again = await pause(stack, "The second.", **DOUYIN)
    assert again["data"]["hold"]["reason"] == "The first."
    for _ in range(2):
        assert (await ask(stack, "resume", **DOUYIN))["data"] == {}


SENSELESS = [
    ("pause", {"reason": "x", "account_id": "shop"}, "$.platform"),
    ("pause", {"reason": "x", "platform": "nowhere"}, "$.platform"),
    ("pause", {"reason": "x\u0000", "platform": "douyin"}, "$.reason"),
    ("pause", {"reason": "x\u202e", "platform": "douyin"}, "$.reason"),
    ("pause", {"reason": "", "platform": "douyin"}, "$.reason"),
    ("pause", {"reason": "x", "platform": "douyin", "account_id": "a\u0000"}, "$.account_id"),
    ("pause", {"reason": "x", "platform": "douyin", "account_id": "a" * 257}, "$.account_id"),
    ("resume", {"platform": ["douyin"]}, "$.platform"),
    ("resume", {"platform": "douyin", "reason": "x"}, "$"),
]


async def test_pauses_that_make_no_sense_are_refused(stack: Stack) -> None:
    for action, body, path in SENSELESS:
        answer = await stack.client.post(f"/api/v1/limits/{action}", json=body)
        assert (answer.status_code, answer.json().get("path")) == (422, path), answer.text
    assert await stack.store.limits.version() == 0
