"""The defects of stock arq 0.28, by their number in a list; the engine has none of them."""

import asyncio
import pickle
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from arq.constants import abort_jobs_ss
from arq.cron import cron
from arq.jobs import Job, JobStatus
from arq.worker import FailedJobs, Retry, func

from engine_support import Gate, Stage, serialize, until
from everpost_workers.engine import OutcomeReason


async def answer(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> int:
    return 42


async def fail(ctx: dict[Any, Any]) -> None:
    raise ValueError("no luck")


async def again(ctx: dict[Any, Any]) -> None:
    raise Retry


async def hang(ctx: dict[Any, Any]) -> None:
    await asyncio.Event().wait()


FUNCTIONS = [
    func(answer, name="answer"),
    func(fail, name="fail"),
    func(again, name="again", max_tries=2),
    func(hang, name="hang", timeout=0.05),
]


async def plant(stage: Stage, case: str) -> None:
    """Enqueue job `x` so that it ends in the way called `case`."""
    function = {"failed": "fail", "timeout": "hang", "tries_exhausted": "again", "unknown_function": "nobody"}
    await stage.enqueue(function.get(case, "answer"), _job_id="x")
    if case == "expired":
        await stage.redis.delete("arq:job:x")
    elif case == "undecodable":
        await stage.redis.set("arq:job:x", b"\xc1")
    elif case == "aborted":
        await stage.redis.zadd(abort_jobs_ss, {"x": 2**42})


@pytest.mark.parametrize("case", list(OutcomeReason))
async def test_defect_01_every_way_a_job_can_end_is_heard_of_once(stage: Stage, case: OutcomeReason) -> None:
    await plant(stage, case)
    worker = await stage.run_burst(FUNCTIONS, allow_abort_jobs=True)
    assert [outcome.reason for outcome in stage.ended("x")] == [case]
    assert stage.outcomes[0].success is (case == "complete")
    assert (worker.jobs_complete, worker.jobs_failed) == ((1, 0) if case == "complete" else (0, 1))
    assert await stage.left_keys() == set()
    assert await Job("x", stage.redis).status() == JobStatus.complete


async def test_defect_02_the_hook_gets_arguments_result_and_error(stage: Stage) -> None:
    await stage.enqueue("answer", 1, _job_id="good", name="测试")
    await stage.enqueue("fail", _job_id="bad")
    payload = await stage.redis.get("arq:job:good")
    await stage.run_burst(FUNCTIONS)
    (good,), (bad,) = stage.ended("good"), stage.ended("bad")
    assert (good.claim.function, good.claim.args, good.claim.kwargs, good.result) == (
        "answer",
        (1,),
        {"name": "测试"},
        42,
    )
    assert (good.claim.payload, good.claim.queue_name, good.claim.job_try) == (payload, "arq:queue", 1)
    assert good.claim.enqueue_time_ms <= good.start_ms <= good.finish_ms
    assert isinstance(bad.result, ValueError)


@pytest.mark.parametrize("hook", ["on_job_start", "on_job_end", "after_job_end", "on_claim", "on_complete"])
async def test_defect_03_a_hook_that_raises_neither_ends_the_worker_nor_locks_the_job(stage: Stage, hook: str) -> None:
    calls: list[str] = []

    async def broken(ctx: Any) -> Any:
        calls.append(hook)
        if len(calls) == 1:
            raise RuntimeError("database is locked")
        if hook == "on_complete":
            await stage.on_complete(ctx)
        return {}

    await stage.start(FUNCTIONS, **{hook: broken})
    await stage.enqueue("answer", _job_id="first")
    await until(lambda: stage.ended("first"))
    await stage.enqueue("answer", _job_id="second")
    await until(lambda: stage.ended("second"))
    await until(lambda: _is_released(stage))
    assert stage.ended("first")[0].success is (hook != "on_job_start")
    assert stage.ended("second")[0].success
    assert stage.ended("second")[0].claim.job_try == 1


async def _is_released(stage: Stage) -> bool:
    return await stage.left_keys() == set()


async def test_defect_04_a_stop_inside_on_job_end_neither_repeats_nor_forgets_the_job(stage: Stage) -> None:
    inside, may_go_on = asyncio.Event(), asyncio.Event()
    ran: list[str] = []
    after: list[str] = []

    async def job(ctx: dict[Any, Any]) -> None:
        ran.append(ctx["job_id"])

    async def on_job_end(ctx: dict[Any, Any]) -> None:
        inside.set()
        await may_go_on.wait()

    async def after_job_end(ctx: dict[Any, Any]) -> None:
        after.append(ctx["job_id"])

    worker = await stage.start([func(job, name="job")], on_job_end=on_job_end, after_job_end=after_job_end)
    await stage.enqueue("job", _job_id="x")
    await inside.wait()
    closing = asyncio.create_task(worker.close())
    await until(lambda: not worker.allow_pick_jobs)
    may_go_on.set()
    await closing
    await stage.run_burst([func(job, name="job")])
    assert (ran, after) == (["x"], ["x"])
    assert [outcome.reason for outcome in stage.outcomes] == ["complete"]


async def test_defect_06_deploys_spend_no_tries(stage: Stage) -> None:
    gate = Gate()
    await stage.enqueue("gate", _job_id="x")
    for _ in range(4):
        worker = await stage.start([func(gate.job, name="gate")], max_tries=2)
        await until(lambda: len(gate.entered) > len(gate.cancelled))
        await worker.close()
        assert worker.jobs_retried == 1
    gate.open()
    await stage.run_burst([func(gate.job, name="gate")], max_tries=2)
    assert gate.tries == [1, 1, 1, 1, 1]
    assert [outcome.reason for outcome in stage.outcomes] == ["complete"]


async def test_defect_07_jobs_running_elsewhere_do_not_block_the_head_of_the_queue(stage: Stage) -> None:
    held = {f"held-{number}": 1000 + number for number in range(500)}
    await stage.redis.zadd("arq:queue", held)
    await stage.redis.mset({f"arq:in-progress:{job_id}": b"1" for job_id in held})
    await stage.start(FUNCTIONS)
    await stage.enqueue("answer", _job_id="x")
    await until(lambda: stage.ended("x"))
    assert len(stage.outcomes) == 1


async def test_defect_08_a_message_wakes_the_worker_long_before_its_next_poll(stage: Stage) -> None:
    worker = await stage.start(FUNCTIONS, poll_delay=3600)
    assert worker.options.wake_channel is not None
    await until(lambda: _has_listener(stage, "everpost:wake"))
    for number in range(5):
        await stage.enqueue("answer", _job_id=f"x{number}")
        await until(partial(stage.ended, f"x{number}"))
    waits_ms = [outcome.start_ms - outcome.claim.enqueue_time_ms for outcome in stage.outcomes]
    assert min(waits_ms) < 500


async def _has_listener(stage: Stage, channel: str) -> bool:
    return bool((await stage.redis.pubsub_numsub(channel))[0][1])


async def test_defect_08_a_deferred_job_starts_on_its_minute(stage: Stage) -> None:
    await stage.enqueue("answer", _job_id="x", _defer_by=0.4)
    due_ms = await stage.redis.zscore("arq:queue", "x")
    await stage.start(FUNCTIONS, poll_delay=3600)
    await until(lambda: stage.ended("x"))
    assert 0 <= stage.outcomes[0].start_ms - due_ms < 200


async def test_defect_10_results_kept_for_ever_survive_a_failure_before_the_run(stage: Stage) -> None:
    await plant(stage, "unknown_function")
    await stage.run_burst(FUNCTIONS, keep_result_forever=True)
    assert await stage.redis.pttl("arq:result:x") == -1


async def test_defect_11_a_functions_own_keep_result_counts_on_failure_too(stage: Stage) -> None:
    await stage.enqueue("none", _job_id="none")
    await stage.enqueue("long", _job_id="long")
    functions = [func(fail, name="none", keep_result=0), func(fail, name="long", keep_result=5000)]
    await stage.run_burst(functions, keep_result=10)
    assert await stage.redis.exists("arq:result:none") == 0
    assert await stage.redis.ttl("arq:result:long") > 4000


async def test_defect_15_an_abort_of_an_unknown_id_does_not_poison_it(stage: Stage) -> None:
    await stage.redis.zadd(abort_jobs_ss, {"x": 1_000, "old": 1_000, "waiting": 1_000})
    await stage.enqueue("answer", _job_id="x")
    await stage.enqueue("answer", _job_id="waiting", _defer_by=3600)
    await stage.start(FUNCTIONS, allow_abort_jobs=True)
    await until(lambda: stage.ended("x"))
    assert stage.ended("x")[0].success
    await until(lambda: _aborts(stage, {b"waiting"}))


async def _aborts(stage: Stage, expected: set[bytes]) -> bool:
    return set(await stage.redis.zrange(abort_jobs_ss, 0, -1)) == expected


async def test_defect_16_urgent_queues_go_first_and_none_starves(stage: Stage) -> None:
    for number in range(60):
        await stage.enqueue("answer", _job_id=f"late-{number}", _queue_name="late")
    for number in range(60):
        await stage.enqueue("answer", _job_id=f"urgent-{number}", _queue_name="urgent")
    await stage.run_burst(FUNCTIONS, queue_names=["urgent", "late"], max_jobs=20)
    first = [outcome.job_id.split("-")[0] for outcome in stage.outcomes[:40]]
    assert first.count("late") == 4  # a tenth of each claim
    assert {outcome.claim.queue_name for outcome in stage.outcomes} == {"urgent", "late"}
    assert len(stage.outcomes) == 120


async def test_defect_16_large_urgent_jobs_leave_the_others_their_share(stage: Stage) -> None:
    for number in range(40):
        await stage.enqueue("answer", "x" * 2_000_000, _job_id=f"urgent-{number}", _queue_name="urgent")
    await stage.enqueue("answer", _job_id="late", _queue_name="late")
    await stage.run_burst(FUNCTIONS, queue_names=["urgent", "late"], max_jobs=100)
    assert [outcome.job_id for outcome in stage.outcomes].index("late") < 20


async def test_defect_16_a_cron_job_enqueued_late_by_another_worker_does_not_run_again(stage: Stage) -> None:
    worker = await stage.run_burst([], cron_jobs=[cron(answer, hour=1, run_at_startup=True, name="daily")])
    (outcome,) = stage.outcomes
    await stage.enqueue("daily", _job_id=outcome.job_id)
    await stage.run_burst([], cron_jobs=[cron(answer, hour=1, name="daily")])
    assert (worker.jobs_complete, len(stage.outcomes)) == (1, 1)
    assert await stage.redis.zcard("arq:queue") == 0


async def test_a_cron_job_with_an_id_of_its_own_waits_for_its_next_run_but_is_not_dropped(stage: Stage) -> None:
    daily = cron(answer, hour=1, run_at_startup=True, name="daily", job_id="only")
    await stage.run_burst([], cron_jobs=[daily])
    await stage.enqueue("daily", _job_id="only")
    await stage.start([], cron_jobs=[cron(answer, hour=1, name="daily", job_id="only")])
    await until(lambda: _is_put_off(stage, "only"))
    await stage.redis.delete("arq:in-progress:only")
    await stage.redis.zadd("arq:queue", {"only": 1})
    await until(lambda: len(stage.ended("only")) == 2)


async def _is_put_off(stage: Stage, job_id: str) -> bool:
    return bool(await stage.redis.zscore("arq:queue", job_id) > time.time() * 1000)


async def test_defect_17_a_check_run_never_searches_redis_for_keys(stage: Stage) -> None:
    await stage.redis.config_resetstat()
    await stage.enqueue("fail", _job_id="x")
    worker = stage.worker(FUNCTIONS, burst=True)
    with pytest.raises(FailedJobs, match="no luck") as caught:
        await worker.run_check()
    assert caught.value.job_results[0].job_id == "x"
    assert "cmdstat_keys" not in await stage.redis.info("commandstats")


async def test_defect_18_a_worker_that_stops_leaves_the_others_health_check_alone(stage: Stage) -> None:
    leaver = await stage.start(FUNCTIONS)
    await until(lambda: stage.redis.exists("arq:queue:health-check"))
    await stage.redis.set("arq:queue:health-check", b"of another worker")
    await leaver.close()
    assert await stage.redis.get("arq:queue:health-check") == b"of another worker"


async def test_defect_18_a_missing_health_check_comes_back(stage: Stage) -> None:
    await stage.start(FUNCTIONS, health_check_interval=3600)
    await until(lambda: stage.redis.exists("arq:queue:health-check"))
    await stage.redis.delete("arq:queue:health-check")
    await until(lambda: stage.redis.exists("arq:queue:health-check"))


async def test_defect_19_a_pickle_planted_in_redis_runs_nothing(stage: Stage, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    await stage.enqueue("answer", _job_id="x")
    await stage.redis.set("arq:job:x", pickle.dumps({"f": "answer", "a": (Bomb(),), "k": {}, "t": 1, "et": 1}))
    await stage.run_burst(FUNCTIONS)
    assert stage.outcomes[0].reason == "undecodable"
    assert not (tmp_path / "exploded").exists()


async def test_defect_20_a_thousand_jobs_take_a_handful_of_round_trips(stage: Stage) -> None:
    payload = serialize({"f": "answer", "a": (), "k": {}, "t": 1, "et": 1})
    async with stage.redis.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.set(f"arq:job:{number}", payload)
            pipe.zadd("arq:queue", {str(number): 1})
        await pipe.execute()
    await stage.redis.config_resetstat()
    await stage.run_burst(FUNCTIONS, max_jobs=500, queue_read_limit=500, keep_result=0)
    stats = await stage.redis.info("commandstats")
    assert len(stage.outcomes) == 1000
    assert stats["cmdstat_evalsha"]["calls"] < 40


@pytest.mark.parametrize("key", ["arq:job:x", "arq:retry:x", "arq:in-progress:x", "arq:result:x"])
async def test_a_key_of_another_type_under_a_jobs_id_holds_up_no_other(stage: Stage, key: str) -> None:
    await stage.enqueue("answer", _job_id="x")
    await stage.redis.delete(key)
    await stage.redis.zadd(key, {"odd": 1})
    await stage.enqueue("answer", _job_id="y")
    worker = await stage.start(FUNCTIONS)
    await until(lambda: stage.ended("y") and worker.job_counter == 0)
    assert [outcome.claim.job_try for outcome in stage.outcomes] == [1] * len(stage.outcomes)


@pytest.mark.parametrize("key", ["arq:in-progress:x", "arq:retry:x", "arq:result:x"])
async def test_a_key_of_another_type_under_a_running_jobs_id_holds_up_no_other(stage: Stage, key: str) -> None:
    gate = Gate()
    worker = await stage.start([func(gate.job, name="gate")], lease=60)
    for job_id in "xy":
        await stage.enqueue("gate", _job_id=job_id)
    await until(lambda: len(gate.entered) == 2)
    await stage.redis.delete("arq:in-progress:x", "arq:retry:x")
    await stage.redis.zadd(key, {"odd": 1})
    first = await stage.redis.zscore("arq:queue", "y")

    async def is_renewed() -> bool:
        return bool(await stage.redis.zscore("arq:queue", "y") > first)

    await until(is_renewed)
    gate.open()
    await until(lambda: stage.ended("y") and worker.job_counter == 0)
    assert gate.entered.count("y") == 1


@pytest.mark.parametrize("counter", ["odd", str(2**63 - 2)])
async def test_a_try_counter_that_is_not_a_number_starts_over(stage: Stage, counter: str) -> None:
    await stage.redis.set("arq:retry:x", counter)
    await stage.enqueue("answer", _job_id="x")
    await stage.start(FUNCTIONS)
    await until(lambda: stage.ended("x"))
    assert stage.outcomes[0].claim.job_try == 1
