"""Whatever others write under the keys of arq and Everpost, tasks are run, and the routes about health answer."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from everpost.cli.queue_checkup import check_redis
from everpost.clock import system_clock, to_text
from everpost.publishing import InvalidError
from everpost.queue.codec import serialize
from everpost.queue.keys import EVENTS, QUEUE_NAMES
from everpost.testing import Stack, eventually, everpost_stack
from everpost_workers.attempts.adoption import task_id_of
from everpost_workers.upkeep.relay import FRESH_MS, ROUND_TICKS, Relay
from store_rows import make_task

SHARED = (
    "everpost:workers",
    "everpost:epoch",
    "everpost:withdrawals",
    "everpost:metrics",
    "everpost:results",
    "arq:abort",
    "arq:queue:health-check",
    *QUEUE_NAMES,
)
OF_A_TASK = ("arq:job:", "arq:result:", "arq:in-progress:", "arq:retry:", "everpost:withdrawn:")
WRONG: Mapping[str, Sequence[Any]] = {
    "string": ["SET", b"\xff\x00 no number, no JSON"],
    "list": ["RPUSH", b"\xff"],
    "hash": ["HSET", b"\xff", b"\xff", b"evil", b"not json", b"x" * 5_000, b"1", b"long", b"1" * 5_000],
    "set": ["SADD", b"\xff"],
    "zset": ["ZADD", "-inf", b"\xff", 1, b"", 2, b"x" * 5_000, "+inf", b"y"],
    "stream": ["XADD", "*", b"\xff", b"\xff"],
}


VARIED = {"list", "set", "stream"}  # types no shared key has; a string and a zset are of this sort for most, too


async def poison(redis: Redis, kind: str, key: str) -> None:
    command, *content = WRONG[kind]
    await redis.delete(key)
    await redis.execute_command(command, key, *content)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped


async def routes_answer(stack: Stack) -> bool:
    """None of them fails; whether all is well."""
    answers = [await stack.client.get(path) for path in ("/health/ready", "/metrics", "/api/v1/tasks/health")]
    assert {answer.status_code for answer in answers} <= {200, 503}, [answer.text for answer in answers]
    return all(answer.status_code == 200 for answer in answers) and answers[2].json()["status"] == "healthy"


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with everpost_stack() as stack:
        yield stack


async def works(stack: Stack) -> None:
    """Tasks of several priorities are published, a waiting one is cancelled, and health is reported."""
    hour = to_text(system_clock() + 3_600_000)
    posts = (stack.publish(priority=priority) for priority in (0, 5, 9))
    later, *task_ids = await asyncio.gather(stack.publish(schedule_time=hour), *posts)
    for ended in await asyncio.gather(*(stack.wait_until_ended(task_id) for task_id in task_ids)):
        assert ended["status"] == "success"

    async def is_cancelled() -> bool:
        return (await stack.client.post(f"/api/v1/tasks/cancel/{later}")).status_code in {200, 409}

    await eventually(is_cancelled, what="a cancellation")
    assert (await stack.task(later))["status"] == "cancelled"
    await eventually(lambda: routes_answer(stack), what="health")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.chaos] if kind in VARIED else []) for kind in WRONG]
)
async def test_a_shared_key_of_the_wrong_type_or_content_stops_nothing(stack: Stack, kind: str) -> None:
    await works(stack)
    for key in SHARED:
        await poison(stack.queue.redis, kind, key)
        try:
            await works(stack)
        except (TimeoutError, AssertionError) as error:
            raise AssertionError(f"{key} as a {kind}: {error}") from error


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.chaos] if kind in VARIED else []) for kind in WRONG]
)
async def test_a_task_s_keys_of_the_wrong_type_or_content_do_not_keep_it_from_its_end(stack: Stack, kind: str) -> None:
    await stack.stop_workers()
    task_ids = {}
    for prefix in OF_A_TASK:
        task_ids[prefix] = await stack.publish()
        await poison(stack.queue.redis, kind, prefix + task_ids[prefix])
    await stack.start_worker()
    for prefix, task_id in task_ids.items():
        try:
            assert (await stack.wait_until_ended(task_id, timeout_s=60))["status"] == "success"
        except (TimeoutError, AssertionError) as error:
            raise AssertionError(f"{prefix} as a {kind}: {error}") from error


EVENTS_STATE = f"{EVENTS}:state"
FOREIGN_EVENTS: Mapping[str, Sequence[tuple[str | int, ...]]] = {
    "a state of the wrong type": [("SET", EVENTS_STATE, "x")],
    "a stream of the wrong type": [
        ("SET", EVENTS, "x"),
        ("HSET", EVENTS_STATE, "n", 0, "bytes", 0, "until", 5, "most", 5),
    ],
    "a state without a bound": [("HSET", EVENTS_STATE, "n", 0, "bytes", 0, "until", 5)],
    "a text in place of a number": [("HSET", EVENTS_STATE, "n", "x", "bytes", 0, "until", 5, "most", 5)],
    "an entry without bytes": [
        ("XADD", EVENTS, "0-1", "a", "b"),
        ("HSET", EVENTS_STATE, "n", 0, "bytes", 9, "until", 5, "most", 5),
    ],
    "an entry whose bytes are no number": [
        ("XADD", EVENTS, "0-1", "a", "b", "c", "d", "e", "f", "g", "h"),
        ("HSET", EVENTS_STATE, "n", 0, "bytes", 9, "until", 5, "most", 5),
    ],
    "no right to write it": [
        ("HSET", EVENTS_STATE, "n", 0, "bytes", 0, "until", 5, "most", 5),
        ("ACL", "SETUSER", "default", "-xadd", "-unlink"),
    ],
    "no right to count": [
        ("HSET", EVENTS_STATE, "n", 0, "bytes", 0, "until", 5, "most", 5),
        ("ACL", "SETUSER", "default", "-hincrby", "-unlink"),
    ],
}


async def test_foreign_events_stop_no_acceptance_and_no_release(stack: Stack) -> None:
    redis = stack.queue.redis

    async def plant(commands: Sequence[tuple[str | int, ...]]) -> None:
        await redis.delete(EVENTS, EVENTS_STATE)
        for command in commands:
            await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        await redis.pexpire(EVENTS_STATE, 60_000)

    for what, commands in FOREIGN_EVENTS.items():
        await plant(commands)
        (queued,) = await stack.queue.enqueuer.enqueue_tasks(
            [make_task(uuid4().hex, due_at_ms=system_clock() + 3_600_000)]
        )
        assert queued, what
        await stack.stop_workers()
        task_id = await stack.publish()
        await plant(commands)
        await stack.start_worker()

        async def is_released(task_id: str = task_id) -> bool:
            return bool(await redis.exists(f"arq:result:{task_id}")) and not await redis.exists(
                f"arq:in-progress:{task_id}"
            )

        await eventually(is_released, what=f"a release in spite of {what}")


async def test_the_content_of_a_key_of_the_wrong_type_is_kept(stack: Stack) -> None:
    await poison(stack.queue.redis, "list", "arq:queue")
    await works(stack)
    assert await stack.queue.redis.lrange("everpost:set-aside:arq:queue", 0, -1) == [b"\xff"]  # type: ignore[misc]


async def test_doctor_names_the_keys_that_others_wrote_and_changes_nothing(stack: Stack) -> None:
    await stack.stop_workers()
    redis = stack.queue.redis
    await poison(redis, "hash", "everpost:workers")
    await poison(redis, "list", "everpost:withdrawals")
    await poison(redis, "string", "arq:queue:p3")
    findings = {finding.name: finding for finding in await check_redis(stack.settings, None, system_clock)}
    told = findings["keys"]
    assert told.ok is False
    assert "everpost:workers has 4 fields that no worker wrote" in told.value
    assert "everpost:withdrawals is a list instead of a zset" in told.value
    assert "arq:queue:p3 is a string instead of a zset" in told.value
    assert await redis.type("everpost:withdrawals") == b"list"
    await redis.delete("everpost:withdrawals", "arq:queue:p3", "everpost:workers")
    findings = {finding.name: finding for finding in await check_redis(stack.settings, None, system_clock)}
    assert findings["keys"].ok is True


async def test_an_impossible_worker_is_not_listed(stack: Stack) -> None:
    await stack.stop_workers()
    for until_ms in ("soon", None, 1e300, 2**62, -1, True, [1]):
        facts = {"worker": "w", "until_ms": until_ms, "slots": 1, "consuming": True}
        await stack.queue.redis.hset("everpost:workers", "w", msgspec.json.encode(facts).decode())  # type: ignore[misc]
        assert [facts for facts in await stack.queue.workers.living() if facts["worker"] == "w"] == [], until_ms
        assert b"w" in await stack.queue.workers.dead(), until_ms


async def test_thousands_of_fields_among_the_workers_are_removed(stack: Stack) -> None:
    flood = {str(number): "x" for number in range(5_000)}
    await stack.queue.redis.hset("everpost:workers", mapping=flood)  # type: ignore[misc]
    await stack.queue.workers.forget(await stack.queue.workers.dead())
    await eventually(lambda: routes_answer(stack), what="health")


async def test_a_foreign_epoch_is_overwritten_and_logged_once(stack: Stack) -> None:
    await stack.stop_workers()
    await poison(stack.queue.redis, "string", "everpost:epoch")
    with capture_logs() as lines:
        epochs = {(await stack.queue.losses.identify(uuid4().hex)).epoch for _ in range(3)}
    assert len(epochs) == 1
    assert [line["event"] for line in lines] == ["epoch.overwritten"]


async def test_a_withdrawal_that_names_no_task_keeps_none_from_coming_back(stack: Stack) -> None:
    await stack.queue.redis.zadd("everpost:withdrawals", {b"\xff\xfe": 1, b"gone": 1})
    assert await stack.queue.losses.old_withdrawals(10) == ["gone"]
    assert await stack.queue.redis.zrange("everpost:withdrawals", 0, -1) == [b"gone"]


async def queue_job(stack: Stack, job_id: str, task_data: Any) -> None:
    message: dict[str, Any] = {"t": None, "f": "publish", "a": (task_data,), "k": {}, "et": system_clock()}
    await stack.queue.redis.set(f"arq:job:{job_id}", pickle.dumps(message))
    await stack.queue.redis.zadd("arq:queue", {job_id: 1})


async def test_an_entry_whose_id_is_not_a_text_is_recorded_once_and_gone(stack: Stack) -> None:
    message: dict[str, Any] = {"t": None, "f": "publish", "a": ({"platform": 3, "account_id": "a"},), "k": {}, "et": 1}
    await stack.queue.redis.set(b"arq:job:\xff\x00", serialize(message))
    await stack.queue.redis.zadd("arq:queue", {b"\xff\x00": 1})
    task_id = task_id_of("\\xff\x00")
    task = await stack.wait_until_ended(task_id)
    assert (task["status"], task["error_class"]) == ("failed", "unreadable")
    assert "not UTF-8" in task["error_message"]

    async def is_gone() -> bool:
        return await stack.queue.redis.keys("arq:*\xff*") == [] and not await stack.queue.redis.zcard("arq:queue")

    await eventually(is_gone, what="the removal")
    assert (await stack.wait_until_ended(await stack.retry(task_id)))["status"] == "success"


async def test_a_job_with_an_id_that_no_route_takes_is_refused_and_kept(stack: Stack) -> None:
    message: dict[str, Any] = {
        "t": None,
        "f": "publish",
        "a": ({"platform": 3, "account_id": "a"},),
        "k": {},
        "et": system_clock(),
    }
    for number, job_id in enumerate(("", "x" * 129, "line\nfeed", "esc\x1b[31m", "\u202egnp")):
        await stack.queue.redis.set(f"arq:job:{job_id}", serialize(message))
        await stack.queue.redis.zadd("arq:queue", {job_id: 1})
        task = await stack.wait_until_ended(task_id_of(job_id))
        assert (task["status"], task["error_class"]) == ("failed", "invalid")
        assert "job id" in task["error_message"]
        assert len(stack.publisher.attempts) == number  # of the retries before
        assert (await stack.wait_until_ended(await stack.retry(task_id_of(job_id))))["status"] == "success"


async def test_a_job_larger_than_a_body_may_be_is_refused_and_kept_whole(stack: Stack) -> None:
    data = {"platform": 3, "account_id": "a", "description": "x" * 1_100_000}
    await queue_job(stack, "large", data)
    task = await stack.wait_until_ended("large")
    assert (task["status"], task["error_class"], task["task_data"]) == ("failed", "invalid", None)
    assert "EVERPOST_MAX_BODY" in task["error_message"]
    assert task["raw_job"]["size_bytes"] > 1_100_000
    assert not stack.publisher.attempts
    again = await stack.wait_until_ended(await stack.retry("large"))  # a person's decision
    assert (again["status"], again["task_data"]) == ("success", data)


async def test_of_a_job_too_large_to_be_read_the_beginning_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everpost_workers.main.LARGEST_PAYLOAD_BYTES", 0)
    async with everpost_stack(max_body=100_000) as stack:
        await queue_job(stack, "huge", {"platform": 3, "account_id": "a", "description": "x" * 3_000_000})
        task_id = await stack.publish()
        assert (await stack.wait_until_ended(task_id))["status"] == "success"
        task = await stack.wait_until_ended("huge")
        assert (task["status"], task["error_class"]) == ("failed", "unreadable")
        assert "3,000," in task["error_message"]
        assert task["raw_job"]["size_bytes"] == 65_536
        await stack.flush_redis()
        refused = await stack.post_retry("huge")
        assert (refused.status_code, refused.json()["code"]) == (409, "task_unreadable")


def later_clock() -> int:
    return system_clock() + 2 * FRESH_MS


@asynccontextmanager
async def relay_of(stack: Stack) -> AsyncIterator[Relay]:
    """A relay for which everything accepted so far is old enough to be looked for, and whose sweep is done."""
    relay = Relay(stack.store, stack.queue, later_clock)
    await relay.tick()
    yield relay


async def test_queue_entries_that_others_removed_are_back_at_the_next_ticks() -> None:
    async with everpost_stack(workers=0) as stack:
        task_ids = [await stack.publish(priority=number % 10) for number in range(30)]
        async with relay_of(stack) as relay:
            for name in QUEUE_NAMES:
                await stack.queue.redis.delete(name)
            restored = [await relay.tick() for _ in range(ROUND_TICKS + 1)]
        assert sum(restored) == len(task_ids)
        await stack.start_worker()
        for task_id in task_ids:
            assert (await stack.wait_until_ended(task_id))["status"] == "success"


async def test_a_round_looks_for_every_task_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everpost_workers.upkeep.relay.CHUNK", 10)
    async with everpost_stack(workers=0) as stack:
        await asyncio.gather(*(stack.publish() for _ in range(95)))
        async with relay_of(stack) as relay:
            await stack.queue.redis.delete("arq:queue")
            restored = [await relay.tick() for _ in range(ROUND_TICKS + 1)]
        assert sum(restored) == 95
        assert max(restored) <= 10


@pytest.mark.parametrize("planted", [b"", b"\xff", pickle.dumps({"s": True, "r": "done", "f": "publish"})])
async def test_a_result_that_others_wrote_does_not_keep_a_task_from_coming_back(planted: bytes) -> None:
    async with everpost_stack(workers=0) as stack:
        task_id = await stack.publish()
        async with relay_of(stack) as relay:
            await stack.queue.redis.set(f"arq:result:{task_id}", planted)
            await stack.queue.redis.delete(f"arq:job:{task_id}", "arq:queue")
            assert await relay.tick() == 1
        assert not await stack.queue.redis.exists(f"arq:result:{task_id}")
        await stack.start_worker()
        assert (await stack.wait_until_ended(task_id))["status"] == "success"


async def test_the_result_of_a_task_that_has_ended_is_left_alone(stack: Stack) -> None:
    task_id = await stack.publish()
    await stack.wait_until_ended(task_id)

    async def result() -> Any:
        return await stack.queue.redis.get(f"arq:result:{task_id}")

    written = await eventually(result, what="the result")
    async with relay_of(stack) as relay:
        assert await relay.tick() == 0
    assert await result() == written


async def test_a_withdrawal_note_without_an_expiry_is_ignored() -> None:
    async with everpost_stack(workers=0) as stack:
        task_id = await stack.publish()
        await stack.queue.redis.set(f"everpost:withdrawn:{task_id}", "1")
        await stack.queue.redis.delete(f"arq:job:{task_id}", "arq:queue")
        async with relay_of(stack):
            assert await stack.queue.redis.zscore("arq:queue", task_id) is not None


async def test_a_refused_password_is_told_as_such(stack: Stack) -> None:
    async def detail() -> str:
        checks = (await stack.client.get("/health/ready")).json()["checks"]
        return str(next(check["detail"] for check in checks if check["name"] == "redis"))

    await stack.queue.redis.config_set("requirepass", "secret")
    await stack.queue.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]

    async def is_told() -> bool:
        return "refuses the password" in await detail()

    await eventually(is_told, what="the refused password")
    wrong = msgspec.structs.replace(stack.settings, redis=stack.valkey.address.replace("unix://", "unix://:wrong@"))
    [finding] = await check_redis(wrong, None, system_clock)
    assert (finding.value, finding.ok) == ("refuses the password", False)
    assert "wrong" not in finding.advice.replace("WRONG", "")
    await stack.queue.redis.execute_command("AUTH", "secret")  # type: ignore[no-untyped-call]
    await stack.queue.redis.config_set("requirepass", "")
    await eventually(lambda: routes_answer(stack), what="health")


async def test_a_refused_command_is_told_with_its_reason(stack: Stack) -> None:
    redis = stack.queue.redis
    await redis.execute_command("ACL", "SETUSER", "weak", "on", ">pass", "~*", "+@all", "-info")  # type: ignore[no-untyped-call]
    weak = msgspec.structs.replace(stack.settings, redis=stack.valkey.address.replace("unix://", "unix://weak:pass@"))
    [finding] = await check_redis(weak, None, system_clock)
    assert (finding.value, finding.ok) == ("refuses", False)
    assert "permissions" in finding.advice


@pytest.mark.parametrize("key", ["arq:result:", "arq:job:"])
async def test_bad_data_in_a_valid_message_does_not_keep_a_task_from_its_retry(stack: Stack, key: str) -> None:
    message = {"t": 1, "f": "publish", "a": (), "et": 1, "s": False, "r": "", "st": 1, "ft": 1}
    for bad in (b'{"platform": []}', b'{"platform": "nowhere"}', b"[]", b"\xff", b'{"platform": 3, "x": "\\u0000"}'):
        stack.publisher.fail_next(InvalidError("no"))
        task_id = await stack.publish(title="honest")
        assert (await stack.wait_until_ended(task_id))["status"] == "failed"
        await stack.flush_redis()
        await stack.queue.redis.set(key + task_id, serialize({**message, "k": {"task_data": bad}}))
        again = await stack.wait_until_ended(await stack.retry(task_id))
        assert (again["status"], again["task_data"]["title"]) == ("success", "honest"), bad


@pytest.mark.parametrize("key", ["arq:result:", "arq:job:"])
async def test_a_value_too_large_to_be_everposts_is_not_read_for_a_retry(
    stack: Stack, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everpost.queue.jobs.LARGEST_FOUND", 10_000)
    stack.publisher.fail_next(InvalidError("no"))
    task_id = await stack.publish(title="honest")
    assert (await stack.wait_until_ended(task_id))["status"] == "failed"
    await stack.flush_redis()
    await stack.queue.redis.setrange(key + task_id, 20_000, "x")
    answer = await stack.post_retry(task_id)
    assert (answer.status_code, answer.json()["source"]) == (200, "sqlite")
    assert await stack.queue.jobs.find_tasks([task_id]) == {}
