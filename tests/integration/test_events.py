"""Streams of events: every change is told, in order, and a client that comes back misses nothing silently."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api_support import Api, assert_problem, running_valkey, serving
from chaos_kit.processes import frozen
from event_reader import EVENTS, reading
from everpost.access import Role
from everpost.embedded import EmbeddedValkey
from everpost.platforms import Catalogue
from everpost.publishing import TransientError
from everpost.queue.event_teller import Told
from everpost.queue.progress import Progress
from everpost.queue.task_queue import TaskQueue
from everpost.task.model import TaskRecord, TaskStatus
from everpost.testing import PublisherDouble, eventually
from everpost_workers.engine import BatchWorker
from everpost_workers.main import create_worker
from integration.test_keys import TOKEN, client, make

STATE = "everpost:events:state"


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    async with running_valkey(tmp_path) as server:
        yield server


@pytest_asyncio.fixture
async def api(tmp_path: Path, valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    async with serving(tmp_path, valkey) as served:
        yield served


@pytest_asyncio.fixture
async def queue(valkey: EmbeddedValkey) -> AsyncIterator[TaskQueue]:
    found = TaskQueue.connect(valkey.address)
    yield found
    await found.close()


@asynccontextmanager
async def working(api: Api, publisher: PublisherDouble | None = None) -> AsyncIterator[BatchWorker]:
    """A worker of the API, with a double of all platforms."""
    double = publisher or PublisherDouble()
    doubles = {platform.publisher: double for platform in Catalogue.read(api.settings.platforms)}
    worker = create_worker(api.settings, publishers=doubles, handle_signals=False)
    running = asyncio.create_task(worker.async_run())
    try:
        yield worker
    finally:
        await worker.close()
        await asyncio.gather(running, return_exceptions=True)


async def test_each_step_of_a_task_is_told_in_order(api: Api) -> None:
    async with working(api), reading(api.client) as reader:
        task_id = await api.publish(title="测试")
        ended = await reader.until_told("task.ended", task_id)
    assert reader.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reader.headers["x-accel-buffering"] == "no"
    assert reader.told_of(task_id) == ["task.accepted", "task.started", "task.ended"]
    accepted, started = (data for _, data in reader.events[:2])
    assert (accepted["status"], started["status"], ended["status"]) == ("pending", "running", "success")
    assert (ended["platform"], ended["account_id"], ended["title"]) == ("xiaohongshu", "test_account", "测试")
    assert ended["attempts"] == 1
    assert len(set(reader.ids)) == 3


async def test_without_a_reader_nothing_is_written(api: Api, queue: TaskQueue) -> None:
    async with working(api):
        task_id = await api.publish()
        await api.client.get(f"/api/v1/tasks/{task_id}")

        async def has_ended() -> bool:
            return bool((await api.client.get(f"/api/v1/tasks/{task_id}")).json()["data"]["completed_at"])

        await eventually(has_ended)
        await api.client.delete(f"/api/v1/tasks/{task_id}")
    assert await queue.redis.keys("everpost:events*") == []


async def test_a_client_that_comes_back_misses_nothing(api: Api, tmp_path: Path, valkey: EmbeddedValkey) -> None:
    async with working(api), reading(api.client) as reader:
        first = await api.publish()
        await reader.until_told("task.ended", first)
    async with working(api):
        missed = [await api.publish() for _ in range(5)]
        async with serving(tmp_path, valkey) as other, reading(other.client, after=reader.last_id) as again:
            for task_id in missed:
                await again.until_told("task.ended", task_id)
            live = await api.publish()
            await again.until_told("task.ended", live)
    assert again.of("reset") == []
    assert again.told_of(first) == []
    for task_id in [*missed, live]:
        assert again.told_of(task_id) == ["task.accepted", "task.started", "task.ended"]


async def test_a_client_comes_back_in_the_middle_of_a_batch(api: Api) -> None:
    async with reading(api.client, types="task.accepted") as reader:
        tasks = [{"platform": 1, "account_id": "a", "title": str(number)} for number in range(10)]
        await api.client.post("/api/v1/publish/batch", json={"tasks": tasks})
        await reader.until(lambda one: len(one.events) == 10)
    async with reading(api.client, after=reader.ids[3], types="task.accepted") as again:
        await again.until(lambda one: len(one.events) == 6)
    assert again.ids == reader.ids[4:]
    async with reading(api.client, last_event_id=reader.ids[8], types="task.accepted") as by_parameter:
        await by_parameter.until(lambda one: len(one.events) == 1)
    assert by_parameter.ids == reader.ids[9:]


@pytest.mark.parametrize("after", ["0123456789-7-0", "nonsense", "0123456789-0"])
async def test_an_id_of_another_stream_is_answered_with_a_reset(api: Api, after: str) -> None:
    async with reading(api.client, after=after) as reader:
        await reader.until(lambda one: one.of("reset"))
        task_id = await api.publish()
        await reader.until_told("task.accepted", task_id)
    async with reading(api.client, after=reader.ids[0]) as again:
        await again.until_told("task.accepted", task_id)
    assert again.of("reset") == []


async def test_an_emptied_redis_is_told_to_all(api: Api, queue: TaskQueue) -> None:
    async with reading(api.client) as reader:
        before = await api.publish()
        await reader.until_told("task.accepted", before)
        last_id = reader.last_id
        await queue.redis.flushall()
        await reader.until(lambda one: one.of("reset"), "the reset")
        after = await api.publish()
        await reader.until_told("task.accepted", after)
    async with reading(api.client, after=last_id) as again:
        await again.until(lambda one: one.of("reset"), "the reset")


async def test_a_client_that_was_away_while_redis_was_emptied_is_told(api: Api, queue: TaskQueue) -> None:
    async with reading(api.client) as reader:
        await reader.until_told("task.accepted", await api.publish())
    await queue.redis.flushall()
    async with reading(api.client, after=reader.last_id) as again:
        await again.until(lambda one: one.of("reset"), "the reset")


async def test_what_was_trimmed_away_is_told(api: Api, queue: TaskQueue) -> None:
    async with reading(api.client) as reader:
        await reader.until_told("task.accepted", await api.publish())
        early = reader.last_id
        await queue.redis.hset(STATE, mapping={"most": 20_000, "until": 20_000})  # type: ignore[misc]
        for _ in range(400):
            await queue.events.tell(Told.STARTED, ["x"] * 5)

        async def is_trimmed() -> bool:
            return (await queue.event_log.read(0, 1))[0].number > 1

        await eventually(is_trimmed)
        late = await api.publish()
        await reader.until_told("task.accepted", late)
    assert reader.of("reset") == []
    api._server.app.state.services.feed._past._recent.clear()
    async with reading(api.client, after=early) as again:
        await again.until(lambda one: one.of("reset"), "the reset")


async def test_filters_choose_events(api: Api) -> None:
    async with (
        working(api),
        reading(api.client, account_id="shop") as of_account,
        reading(api.client, platform="douyin", types="task.ended") as of_platform,
        reading(api.client, types="task.accepted,task.changed") as of_types,
        reading(api.client) as of_all,
    ):
        mine = await api.publish(account_id="shop")
        other = await api.publish(platform=3)
        for task_id in (mine, other):
            await of_all.until_told("task.ended", task_id)
        await of_platform.until_told("task.ended", other)
        await of_account.until_told("task.ended", mine)
    assert of_account.told_of(other) == []
    assert [kind for kind, _ in of_platform.events] == ["task.ended"]
    assert {kind for kind, _ in of_types.events} == {"task.accepted"}
    async with reading(api.client, task_ids=f"{mine},{other}") as of_tasks:
        await api.client.delete(f"/api/v1/tasks/{mine}")
        removed = await of_tasks.until_told("task.changed", mine)
    assert removed["change"] == "removed"


@pytest.mark.parametrize(
    ("parameters", "code", "path"),
    [
        ({"types": "task.none"}, "invalid_value", "?types"),
        ({"platform": "none"}, "unknown_platform", "?platform"),
        ({"task_ids": ","}, "invalid_value", "?task_ids"),
        ({"task_ids": ",".join(map(str, range(101)))}, "invalid_value", "?task_ids"),
        ({"nothing": "x"}, "invalid_value", "?nothing"),
    ],
)
async def test_a_wrong_filter_is_refused(api: Api, parameters: dict[str, str], code: str, path: str) -> None:
    assert_problem(await api.client.get(EVENTS, params=parameters), 422, code, path)


async def test_what_people_change_is_told(api: Api) -> None:
    async with reading(api.client) as reader:
        cancelled = await api.publish(schedule_time="2030-01-01T00:00:00Z")
        assert (await reader.until_told("task.accepted", cancelled))["status"] == "scheduled"
        await api.client.patch(f"/api/v1/tasks/{cancelled}", json={"title": "neu"})
        edited = await reader.until_told("task.changed", cancelled)
        assert (edited["change"], edited["title"]) == ("edited", "neu")
        await api.client.post(f"/api/v1/tasks/cancel/{cancelled}")
        assert (await reader.until_told("task.ended", cancelled))["status"] == "cancelled"
        answer = await api.client.post(f"/api/v1/tasks/retry/{cancelled}")
        new_id = answer.json()["new_task_id"]
        assert (await reader.until_told("task.accepted", new_id))["retry_of"] == cancelled

        def is_retried(one: Any) -> Any:
            return [data for data in one.of("task.changed") if data["change"] == "retried"]

        (retried,) = await reader.until(is_retried, "the retry")
        assert (retried["task_id"], retried["retried_as"]) == (cancelled, new_id)
        again = (await api.client.post(f"/api/v1/tasks/retry/{new_id}")).json()["new_task_id"]
        assert (await reader.until_told("task.ended", new_id))["status"] == "cancelled"
        await api.client.post("/api/v1/tasks/batch/cancel", json={"task_ids": [again]})
        await reader.until_told("task.ended", again)


async def test_an_attempt_that_fails_its_progress_and_a_decision_are_told(
    tmp_path: Path, valkey: EmbeddedValkey, queue: TaskQueue
) -> None:
    double = PublisherDouble()
    double.fail_next(TransientError("busy"))
    platforms = tmp_path / "platforms.toml"
    platforms.write_text("[platforms.xiaohongshu]\nbackoff_base_s = 0.2\n")
    async with (
        serving(tmp_path, valkey, platforms=platforms) as api,
        working(api, double),
        reading(api.client) as reader,
    ):
        task_id = await api.publish()
        deferred = await reader.until_told("task.changed", task_id)
        assert deferred["change"] == "deferred"
        await queue.progress.note({task_id: (Progress(3, 7), 1)})
        progress = await reader.until_told("task.progress", task_id)
        assert (progress["done"], progress["total"], progress["status"]) == (3, 7, "running")
        assert (await reader.until_told("task.ended", task_id))["attempts"] == 2
        double.lose_next_answer()
        unknown = await api.publish()
        assert (await reader.until_told("task.ended", unknown))["status"] == "unknown"
        decision = {"decision": "succeeded", "by": "ada", "why": "seen"}
        await api.client.post(f"/api/v1/tasks/{unknown}/resolve", json=decision)
        resolved = await reader.until_told("task.changed", unknown)
        assert (resolved["change"], resolved["status"]) == ("resolved", "success")


async def test_an_end_whose_worker_died_before_it_was_told_is_told_by_another(api: Api) -> None:
    """The engine drops a job whose task the ledger no longer has; its release tells of the end."""
    store = api._server.app.state.services.store
    async with reading(api.client) as reader:
        task_id = await api.publish()
        await reader.until_told("task.accepted", task_id)
        record = TaskRecord(task_id=task_id, status=TaskStatus.SUCCESS, finished_at_ms=store.meta.now_ms())
        assert await store.ledger.end([record]) == []
        async with working(api):
            assert (await reader.until_told("task.ended", task_id))["status"] == "success"


async def test_the_stream_of_a_task_ends_with_it(api: Api) -> None:
    waiting = await api.publish()
    path = f"/api/v1/tasks/{waiting}/events"
    async with reading(api.client, path) as reader, working(api):
        await reader.until(lambda one: one.has_ended, "the end")
    assert reader.told_of(waiting)[-1] == "task.ended"
    assert reader.events[-1][1]["status"] == "success"
    assert (await api.client.get(path, headers={"last-event-id": reader.last_id})).status_code == 204
    async with reading(api.client, path) as late:
        await late.until(lambda one: one.has_ended, "the end")
    assert late.told_of(waiting) == ["task.ended"]
    assert_problem(await api.client.get("/api/v1/tasks/none/events"), 404, "task_not_found")


async def test_a_stream_ends_when_its_key_is_revoked(tmp_path: Path, valkey: EmbeddedValkey) -> None:
    async with serving(tmp_path, valkey, token=TOKEN) as api:
        key = await make(api, "mei", Role.VIEWER, platforms=["douyin"])
        async with client(api, key) as mei, reading(mei) as limited, reading(api.client) as unlimited:
            inside, outside = await api.publish(platform=3), await api.publish(platform=1)
            await unlimited.until_told("task.accepted", outside)
            await limited.until_told("task.accepted", inside)
            assert limited.told_of(outside) == []
            async with httpx.AsyncClient(base_url=api.address, headers={"sec-fetch-site": "same-origin"}) as browser:
                await browser.post("/login", data={"key": key})
                async with reading(browser) as in_session:
                    await api.client.delete("/api/v1/keys/mei")
                    await limited.until(lambda one: one.has_ended, "the end")
                    await in_session.until(lambda one: one.has_ended, "the end in a session")
            assert not unlimited.has_ended
            assert (await mei.get(EVENTS)).status_code == 401


async def test_a_task_that_is_brought_back_is_told(api: Api) -> None:
    async with working(api), reading(api.client) as reader:
        task_id = await api.publish()
        await reader.until_told("task.ended", task_id)
        await api.client.delete(f"/api/v1/tasks/{task_id}")
        await api.client.post(f"/api/v1/tasks/{task_id}/bring-back")
        await reader.until(lambda one: len(one.of("task.changed")) == 2)
    assert [data["change"] for data in reader.of("task.changed")] == ["removed", "brought_back"]


async def test_a_stop_ends_the_streams_and_says_when_to_come_back(tmp_path: Path, valkey: EmbeddedValkey) -> None:
    async with serving(tmp_path, valkey, shutdown_wait=20.0) as api, reading(api.client) as reader:
        await asyncio.wait_for(api.stop(), 5)
        await reader.until(lambda one: one.has_ended, "the end")
    assert len(reader.retries) == 2
    assert 500 <= reader.retries[1] <= 3_000


async def test_a_reader_that_does_not_read_is_hung_up_on(api: Api, queue: TaskQueue) -> None:
    feed = api._server.app.state.services.feed
    lazy = socket.create_connection(("127.0.0.1", api.port))
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    lazy.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")

    async def has_joined() -> bool:
        return len(feed.readers) == 1

    await eventually(has_joined)
    async with reading(api.client) as reader:
        task_id = await api.publish(title="t" * 200)
        told = 0

        async def is_dropped() -> bool:
            """How much a kernel takes for a client that does not read depends on its settings."""
            nonlocal told
            await queue.events.tell(Told.STARTED, [task_id] * 100)
            told += 100
            return bool(feed.dropped == 1 and len(feed.readers) == 1)

        await eventually(is_dropped)
        await reader.until(lambda one: len(one.of("task.started")) == told)
    lazy.close()


async def test_a_stream_that_begins_while_the_server_stops_ends_at_once(api: Api) -> None:
    api._server.app.state.services.feed.release()
    answer = await asyncio.wait_for(api.client.get(EVENTS), 5)
    assert answer.status_code == 200


async def test_a_stream_that_waits_for_redis_ends_as_soon_as_the_server_stops(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = api._server.app.state.services.feed
    monkeypatch.setattr(feed, "start", lambda: None)  # so it never reads
    async with asyncio.timeout(8), api.client.stream("GET", EVENTS) as answer:
        async for line in answer.aiter_lines():
            if "Redis does not answer" in line:
                feed.release()


async def test_a_head_is_answered_at_once(api: Api) -> None:
    answer = await asyncio.wait_for(api.client.head(EVENTS), 5)
    assert answer.status_code == 200
    assert answer.content == b""


async def test_a_caller_that_waits_is_told_of_the_end_by_the_feed(api: Api) -> None:
    waiter = api._server.app.state.services.waiter
    looks = 0
    look = waiter._ledger.check_claims

    async def counted(offered: Any) -> Any:
        nonlocal looks
        looks += 1
        return await look(offered)

    waiter._ledger = type("Ledger", (), {"check_claims": staticmethod(counted)})()
    task_id = await api.publish()
    waiting = asyncio.create_task(api.client.get(f"/api/v1/tasks/{task_id}?wait=20"))

    async def is_listening() -> bool:
        return bool(waiter.has_waiters() and waiter._feed.is_live and not waiter._new)

    await eventually(is_listening)
    before = looks
    async with working(api):
        answer = await waiting
    assert answer.json()["data"]["status"] == "success"
    assert looks - before < 10


async def test_an_owed_event_is_told_by_another_process(api: Api, queue: TaskQueue) -> None:
    async with reading(api.client) as reader:
        task_id = await api.publish()
        await reader.until_told("task.accepted", task_id)
        with pytest.raises(RuntimeError):
            async with queue.events.telling(Told.EDITED, [task_id]):
                raise RuntimeError("the process died")
        owed = await queue.redis.zrange("everpost:events:owed", 0, -1)
        assert owed == [f"edited {task_id}".encode()]
        assert await queue.events.tell_owed() == 0
        await queue.redis.zadd("everpost:events:owed", {owed[0]: 0})
        assert await queue.events.tell_owed() == 1
        await reader.until_told("task.changed", task_id)
    assert await queue.redis.zcard("everpost:events:owed") == 0


async def test_a_change_while_redis_is_away_becomes_a_reset(api: Api, valkey: EmbeddedValkey) -> None:
    async with working(api), reading(api.client) as reader:
        task_id = await api.publish()
        await reader.until_told("task.ended", task_id)
        await queue_debt(api)
        await reader.until(lambda one: one.of("reset"), "the reset")


async def queue_debt(api: Api) -> None:
    """What a change does that finds Redis away."""
    await api._server.app.state.services.queue.events.note_debt()


async def test_what_happens_while_redis_is_silent_is_told_when_it_answers(api: Api, valkey: EmbeddedValkey) -> None:
    feed = api._server.app.state.services.feed
    async with reading(api.client) as reader:
        await reader.until_told("task.accepted", await api.publish())
        with frozen(valkey.child):
            during = await api.publish()

            async def is_interrupted() -> bool:
                return not feed.is_live

            await eventually(is_interrupted)
            assert reader.told_of(during) == []
            late = asyncio.create_task(api.client.get(f"/api/v1/tasks/{during}?wait=0.5"))
            assert (await late).json()["data"]["status"] == "pending"
        async with working(api):
            await reader.until_told("task.ended", during)
    assert reader.told_of(during)[0] == "task.accepted"
    assert reader.of("reset") == []


async def test_readers_hold_up_no_work_of_a_full_redis_and_are_told_that_they_missed_it(
    api: Api, queue: TaskQueue
) -> None:
    async with reading(api.client) as reader:
        waiting = [await api.publish() for _ in range(20)]
        for task_id in waiting:
            await reader.until_told("task.accepted", task_id)
        used = (await queue.redis.info("memory"))["used_memory"]
        await queue.redis.config_set("maxmemory", used // 2)
        async with working(api):

            async def is_released() -> bool:
                return not await queue.redis.exists(*(f"arq:job:{task_id}" for task_id in waiting), "arq:queue")

            await eventually(is_released, what="the release of all jobs")
            assert await queue.redis.keys("arq:result:*") == []
            await queue.redis.config_set("maxmemory", 0)
            await reader.until(lambda one: one.of("reset"), "a reset")
            last = await api.publish()
            await reader.until_told("task.ended", last)
