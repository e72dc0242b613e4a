"""Leases: held jobs stay held, a dead worker's jobs come back, and a worker does not touch a job it has lost."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from functools import partial
from typing import Any, cast

import pytest
from arq.worker import Retry, func
from redis import Redis as BlockingRedis
from redis.exceptions import ConnectionError as RedisConnectionError

from engine_support import (
    DEADLINE_S,
    Call,
    Gate,
    Stage,
    WatchedRedis,
    until,
    worker_process,
)
from everpost_workers.engine import JobOutcome
from fair_time import fair_s


async def entries(stage: Stage, name: str) -> list[str]:
    return [entry.decode() for entry in await cast("Awaitable[list[bytes]]", stage.redis.lrange(name, 0, -1))]


async def has_entries(stage: Stage, name: str, count: int) -> bool:
    return len(await entries(stage, name)) >= count


async def take_over(ctx: dict[Any, Any], seconds: float) -> str:
    return "taken over"


async def test_defect_05_a_killed_workers_job_runs_elsewhere_within_its_lease_and_five_seconds(stage: Stage) -> None:
    with worker_process(stage.server, lease_s=1) as process:
        await stage.enqueue("sleep", 60, _job_id="x")
        await until(lambda: has_entries(stage, "ran", 1))
        process.send_signal(signal.SIGKILL)
        killed_at = fair_s()
        await stage.start([func(take_over, name="sleep")], lease=1)
        await until(lambda: stage.ended("x"))
    assert fair_s() - killed_at < 1 + 5
    assert (stage.outcomes[0].result, stage.outcomes[0].claim.job_try) == ("taken over", 2)


async def test_a_job_that_blocks_the_event_loop_for_several_leases_keeps_its_lease(stage: Stage) -> None:
    with worker_process(stage.server, lease_s=0.5):
        await stage.enqueue("block", 2.5, _job_id="x")
        await until(lambda: has_entries(stage, "ran", 1))
        await stage.start([func(take_over, name="block")], lease=0.5)
        await until(lambda: has_entries(stage, "recorded", 1))
    assert await entries(stage, "ran") == ["x:1"]
    assert stage.outcomes == []


async def test_sigterm_hands_back_running_jobs_and_the_process_ends(stage: Stage) -> None:
    with worker_process(stage.server, lease_s=15) as process:
        await stage.enqueue("sleep", 60, _job_id="x")
        await until(lambda: has_entries(stage, "ran", 1))
        process.send_signal(signal.SIGTERM)
        await until(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert await stage.redis.exists("arq:in-progress:x", "arq:retry:x") == 0
    await stage.run_burst([func(take_over, name="sleep")], max_tries=1)
    assert (stage.outcomes[0].result, stage.outcomes[0].claim.job_try) == ("taken over", 1)


async def test_sigterm_lets_running_jobs_end_within_the_completion_wait(stage: Stage) -> None:
    with worker_process(stage.server, lease_s=15, completion_wait_s=10) as process:
        await stage.enqueue("sleep", 0.5, _job_id="x")
        await until(lambda: has_entries(stage, "ran", 1))
        process.send_signal(signal.SIGTERM)
        await stage.enqueue("sleep", 0.5, _job_id="later")
        await until(lambda: process.poll() is not None)
    assert await entries(stage, "ran") == ["x:1"]
    assert await entries(stage, "recorded") == ["x:complete"]
    assert await stage.left_keys() == {"arq:queue", "arq:job:later"}


@pytest.mark.chaos
async def test_a_fleet_that_is_restarted_over_and_over_ends_every_job_once_at_its_first_try(stage: Stage) -> None:
    for number in range(100):
        await stage.enqueue("sleep", 0.1, _job_id=f"x{number}")
    for _ in range(4):
        before = len(await entries(stage, "recorded"))
        with worker_process(stage.server, lease_s=30) as process:
            await until(partial(has_entries, stage, "recorded", before + 10))
            process.send_signal(signal.SIGTERM)
            await until(lambda process=process: process.poll() is not None)  # type: ignore[misc]
    with worker_process(stage.server, lease_s=30):
        await until(lambda: has_entries(stage, "recorded", 100))
        await until(lambda: _nothing_left(stage))
    assert sorted(await entries(stage, "recorded")) == sorted(f"x{number}:complete" for number in range(100))
    assert {entry.split(":")[1] for entry in await entries(stage, "ran")} == {"1"}


async def test_leases_and_queue_scores_are_renewed_long_before_they_end(stage: Stage) -> None:
    gate = Gate()
    await stage.start([func(gate.job, name="gate")], lease=3)
    await stage.enqueue("gate", _job_id="x")
    await until(lambda: gate.entered)
    first = await stage.redis.zscore("arq:queue", "x")

    async def is_renewed() -> bool:
        return bool(await stage.redis.zscore("arq:queue", "x") > first)

    await until(is_renewed)
    assert time.time() * 1000 < first - 1000
    assert await stage.redis.pttl("arq:in-progress:x") > 2000
    gate.open()
    await until(lambda: stage.ended("x"))


async def test_running_jobs_return_to_a_flushed_redis_whole(stage: Stage) -> None:
    gate = Gate()
    await stage.start([func(gate.job, name="gate")], lease=0.6)
    await stage.enqueue("gate", "data", _job_id="x")
    await until(lambda: gate.entered)
    payload = await stage.redis.get("arq:job:x")
    await stage.redis.flushall()
    await until(lambda: stage.redis.exists("arq:in-progress:x"))
    assert await stage.redis.get("arq:job:x") == payload
    assert await stage.redis.get("arq:retry:x") == b"1"
    assert await stage.redis.zscore("arq:queue", "x") > time.time() * 1000
    gate.open()
    await until(lambda: stage.ended("x"))
    await until(lambda: _nothing_left(stage))
    assert gate.entered == ["x"]
    assert not stage.outcomes[0].fenced


async def _nothing_left(stage: Stage) -> bool:
    return await stage.left_keys() == set()


@pytest.fixture
async def brief_server(stage: Stage) -> AsyncIterator[None]:
    """The server takes no command of more than 18 MiB; it would answer a larger one too late."""
    await stage.redis.config_set("maxmemory-clients", "18mb")
    yield
    await stage.redis.config_set("maxmemory-clients", "0")


@pytest.mark.usefixtures("brief_server")
async def test_large_running_jobs_return_to_a_flushed_redis_in_several_calls(stage: Stage) -> None:
    gate = Gate()
    await stage.start([func(gate.job, name="gate")], max_jobs=20)
    for number in range(20):
        await stage.enqueue("gate", "x" * 1_000_000, _job_id=f"x{number}")
    await until(lambda: len(gate.entered) == 20)
    await stage.redis.flushall()

    async def are_back() -> bool:
        return bool(await stage.redis.exists(*(f"arq:job:x{number}" for number in range(20))) == 20)

    await until(are_back, "the return of the jobs")
    gate.open()
    await until(lambda: len(stage.outcomes) == 20)
    assert len(gate.entered) == 20


async def test_an_ended_job_is_never_put_back_into_a_flushed_redis(stage: Stage) -> None:
    recorded, may_record = asyncio.Event(), asyncio.Event()

    async def on_complete(outcomes: Any) -> None:
        recorded.set()
        await may_record.wait()

    worker = await stage.start([func(take_over, name="job")], lease=0.3, on_complete=on_complete)
    await stage.enqueue("job", 1.0, _job_id="x")
    await recorded.wait()
    await stage.redis.flushall()
    await until(lambda: stage.redis.exists("arq:in-progress:x"))  # not recorded yet: it still is this worker's
    may_record.set()
    await until(lambda: worker.job_counter == 0)
    await until(lambda: _nothing_left(stage))


async def test_a_recorded_job_waiting_for_its_release_is_not_put_back_either(stage: Stage) -> None:
    may_release, tried = asyncio.Event(), asyncio.Event()

    async def refuse_release(call: Call) -> Any:
        if stage.outcomes and not may_release.is_set():
            tried.set()
            raise RedisConnectionError
        return await call()

    pool = WatchedRedis(stage.server, refuse_release)
    worker = await stage.start([func(take_over, name="job")], lease=0.3, redis_pool=pool)
    await stage.enqueue("job", 1.0, _job_id="x")
    await tried.wait()
    await stage.redis.flushall()
    await stage.redis.config_resetstat()

    async def three_rounds_have_passed() -> bool:
        return bool((await stage.redis.info("commandstats")).get("cmdstat_eval", {"calls": 0})["calls"] >= 3)

    await until(three_rounds_have_passed)
    assert await stage.left_keys() == set()
    may_release.set()
    await until(lambda: worker.job_counter == 0)
    assert len(stage.outcomes) == 1


async def test_jobs_of_a_claim_answered_after_their_leases_are_left_to_other_workers(stage: Stage) -> None:
    claimed, may_arrive = asyncio.Event(), asyncio.Event()
    answered = 0

    async def answer_late(call: Call) -> Any:
        nonlocal answered
        answer = await call()
        if not claimed.is_set() and await stage.redis.exists("arq:in-progress:x"):
            claimed.set()
            await may_arrive.wait()
        answered += 1
        return answer

    gate = Gate()
    await stage.start([func(gate.job, name="gate")], lease=0.5, redis_pool=WatchedRedis(stage.server, answer_late))
    await stage.enqueue("gate", _job_id="x")
    await claimed.wait()
    await stage.start([func(gate.job, name="gate")])
    await until(lambda: len(gate.entered) == 1, "the job on the second worker")
    may_arrive.set()
    before = answered
    await until(lambda: answered >= before + 2, "another claim of the first worker")
    gate.open()
    await until(lambda: stage.ended("x"))
    assert len(gate.entered) == 1


async def test_a_fenced_off_attempt_is_reported_but_touches_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    await stage.start([func(gate.job, name="gate")], lease=0.6)
    await stage.enqueue("gate", _job_id="x")
    await until(lambda: gate.entered)
    await stage.redis.set("arq:in-progress:x", b"another worker", px=60_000)
    before = await _state(stage)
    await until(lambda: "taken over by another worker" in caplog.text)
    gate.open()
    await until(lambda: stage.ended("x"))
    assert (stage.outcomes[0].fenced, stage.outcomes[0].success) == (True, True)
    assert await _state(stage) == before


@pytest.mark.parametrize("is_claimed_before_the_release", [True, False])
async def test_a_fenced_off_attempt_does_not_end_a_job_that_was_handed_back_meanwhile(
    stage: Stage, caplog: pytest.LogCaptureFixture, *, is_claimed_before_the_release: bool
) -> None:
    gate = Gate()
    reported, may_release = asyncio.Event(), asyncio.Event()

    async def job(ctx: dict[Any, Any]) -> str:
        await gate.job(ctx)
        if len(gate.entered) == 1:
            raise ValueError
        return "done"

    async def on_complete(outcomes: Sequence[JobOutcome[Any]]) -> None:
        await stage.on_complete(outcomes)
        reported.set()
        await may_release.wait()

    worker = await stage.start([func(job, name="job")], lease=0.6, max_jobs=1, on_complete=on_complete)
    await stage.enqueue("job", _job_id="x")
    await until(lambda: gate.entered)
    await stage.redis.set("arq:in-progress:x", b"another worker", px=60_000)
    await until(lambda: "taken over by another worker" in caplog.text)
    gate.open()
    await reported.wait()
    if is_claimed_before_the_release:
        await _hand_back(stage)
        await until(lambda: stage.redis.exists("arq:in-progress:x"))
        may_release.set()
    else:
        worker.allow_pick_jobs = False
        await _hand_back(stage)
        may_release.set()
        await until(lambda: worker.job_counter == 0)
        worker.allow_pick_jobs = True
    await until(lambda: len(stage.ended("x")) == 2)
    assert [(outcome.fenced, outcome.success) for outcome in stage.outcomes] == [(True, False), (False, True)]
    await until(lambda: _nothing_left(stage))


async def _hand_back(stage: Stage) -> None:
    """Do what a worker does that is stopped before it has begun with the job."""
    async with stage.redis.pipeline() as pipeline:
        pipeline.set("arq:retry:x", 1)
        pipeline.zadd("arq:queue", {"x": 1})
        pipeline.delete("arq:in-progress:x")
        await pipeline.execute()


async def _state(stage: Stage) -> tuple[Any, ...]:
    return (
        await stage.redis.get("arq:in-progress:x"),
        await stage.redis.get("arq:job:x"),
        await stage.redis.exists("arq:result:x"),
        await stage.redis.zscore("arq:queue", "x") is not None,
    )


@pytest.mark.parametrize(
    ("lost", "is_fenced"),
    [
        ({"arq:retry:x": b"2"}, True),  # another worker tried it and gave it back
        ({"arq:result:x": b"of another worker"}, True),  # another worker ended it
        ({"arq:retry:x": b"1"}, False),  # the lease expired, and no worker came
        ({}, False),  # redis was flushed
    ],
)
async def test_a_lapsed_lease_is_decided_by_try_counter_and_result(
    stage: Stage, lost: dict[str, bytes], *, is_fenced: bool
) -> None:
    gate = Gate()
    await stage.start([func(gate.job, name="gate")], lease=60)
    await stage.enqueue("gate", _job_id="x")
    await until(lambda: gate.entered)
    await stage.redis.delete("arq:in-progress:x", "arq:retry:x")
    for key, value in lost.items():
        await stage.redis.set(key, value)
    gate.open()
    await until(lambda: stage.ended("x"))
    if is_fenced:
        assert await stage.redis.exists("arq:job:x") == 1
        assert await stage.redis.get("arq:result:x") == lost.get("arq:result:x")
    else:
        await until(lambda: _nothing_left(stage))


async def test_a_worker_that_claims_its_own_lapsed_job_goes_on_with_it(stage: Stage) -> None:
    gate = Gate()
    await stage.start([func(gate.job, name="gate")], lease=60)
    await stage.enqueue("gate", _job_id="x")
    await until(lambda: gate.entered)
    await stage.redis.delete("arq:in-progress:x")
    await stage.redis.zadd("arq:queue", {"x": 1})
    await until(lambda: stage.redis.exists("arq:in-progress:x"))
    gate.open()
    await until(lambda: stage.ended("x"))
    await until(lambda: _nothing_left(stage))
    assert gate.entered == ["x"]


async def test_a_retry_goes_back_with_its_try_spent_and_its_own_time(stage: Stage) -> None:
    async def later(ctx: dict[Any, Any]) -> str:
        if ctx["job_try"] == 1:
            raise Retry(defer=3600)
        return "done"

    await stage.start([func(later, name="later")])
    await stage.enqueue("later", _job_id="x")
    await until(lambda: stage.redis.exists("arq:retry:x"))

    async def is_back() -> bool:
        return not await stage.redis.exists("arq:in-progress:x")

    await until(is_back)
    assert await stage.redis.zscore("arq:queue", "x") == pytest.approx(time.time() * 1000 + 3_600_000, abs=20_000)
    assert stage.outcomes == []
    await stage.redis.zadd("arq:queue", {"x": 1})
    await until(lambda: stage.ended("x"))
    assert (stage.outcomes[0].result, stage.outcomes[0].claim.job_try) == ("done", 2)


@pytest.mark.parametrize("ahead_ms", [3_600_000, -3_600_000])
async def test_a_retry_is_due_by_the_clock_of_redis(
    stage: Stage, ahead_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def later(ctx: dict[Any, Any]) -> None:
        monkeypatch.setattr("arq.utils.time", lambda: time.time() + ahead_ms / 1000)
        raise Retry(defer=1800)

    worker = await stage.start([func(later, name="later")])
    await stage.enqueue("later", _job_id="x")
    await until(lambda: worker.jobs_retried == 1 and worker.job_counter == 0)
    assert await stage.redis.zscore("arq:queue", "x") == pytest.approx(time.time() * 1000 + 1_800_000, abs=20_000)


@pytest.mark.usefixtures("brief_server")
async def test_large_results_are_released_in_calls_that_redis_answers_in_time(stage: Stage) -> None:
    gate = Gate()

    async def job(ctx: dict[Any, Any]) -> bytes:
        await gate.job(ctx)
        return bytes(1_000_000)

    worker = await stage.start([func(job, name="job")], max_jobs=40)
    for number in range(40):
        await stage.enqueue("job", _job_id=f"x{number}")
    await until(lambda: len(gate.entered) == 40)
    gate.open()
    await until(lambda: worker.job_counter == 0, "the release of the jobs")
    assert await stage.redis.exists(*(f"arq:result:x{number}" for number in range(40))) == 40


@pytest.mark.parametrize("defer_s", [10**12, 10**17, 10**30])
async def test_a_retry_in_the_far_future_holds_up_no_other_job(stage: Stage, defer_s: int) -> None:
    async def job(ctx: dict[Any, Any]) -> None:
        raise Retry(defer=defer_s)

    worker = await stage.start([func(job, name="job")])
    await stage.enqueue("job", _job_id="x")
    await until(lambda: worker.jobs_retried == 1 and worker.job_counter == 0)
    assert await stage.redis.zscore("arq:queue", "x") > 10**14


@pytest.mark.parametrize("score", ["-inf", "-1e300", "-1"])
async def test_a_job_with_an_absurd_score_runs_and_goes_back(stage: Stage, score: str) -> None:
    gate = Gate()
    await stage.enqueue("gate", _job_id="x")
    await stage.redis.zadd("arq:queue", {"x": score})
    worker = await stage.start([func(gate.job, name="gate")])
    await until(lambda: gate.entered)
    await worker.close()
    await stage.start([func(gate.job, name="gate")])
    await until(lambda: gate.tries == [1, 1])


async def test_a_worker_that_claims_its_own_lapsed_job_just_before_it_puts_it_back_goes_on_with_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    is_missing, may_restore, is_restored = threading.Event(), threading.Event(), threading.Event()
    evaluate = BlockingRedis.eval

    def slow_eval(self: BlockingRedis, *command: Any) -> Any:
        if not any(isinstance(argument, bytes) for argument in command):  # the job's payload, to put it back
            return evaluate(self, *command)
        is_missing.set()
        may_restore.wait(DEADLINE_S)
        answer = evaluate(self, *command)
        is_restored.set()
        return answer

    monkeypatch.setattr(BlockingRedis, "eval", slow_eval)
    await stage.start([func(gate.job, name="gate")], lease=60)
    await stage.enqueue("gate", _job_id="x")
    await until(lambda: gate.entered)
    await stage.redis.delete("arq:in-progress:x")
    await until(is_missing.is_set)
    await stage.redis.zadd("arq:queue", {"x": 1})

    async def is_claimed_again() -> bool:
        return bool(await stage.redis.get("arq:retry:x") == b"2")

    await until(is_claimed_again)
    holder = await stage.redis.get("arq:in-progress:x")
    may_restore.set()
    await until(is_restored.is_set)
    assert await stage.redis.get("arq:in-progress:x") == holder
    first = await stage.redis.zscore("arq:queue", "x")

    async def is_renewed() -> bool:
        return bool(await stage.redis.zscore("arq:queue", "x") > first)

    await until(is_renewed)
    gate.open()
    await until(lambda: stage.ended("x"))
    assert not stage.outcomes[0].fenced
    await until(lambda: _nothing_left(stage))
    assert gate.entered == ["x"]
