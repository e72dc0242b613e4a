"""Jobs that the claim hook puts off: due later, no try spent, and lost by no crash."""

import asyncio
import signal
import time
from collections.abc import Sequence
from typing import Any

import pytest
from arq.jobs import Job, JobStatus
from arq.worker import func

from engine_support import Stage, deserialize, until, worker_process
from everpost_workers.engine import Claim, ClaimAnswer, Later, OutcomeReason


async def answer(ctx: dict[Any, Any]) -> int:
    return 42


ANSWER = func(answer, name="answer")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class PutOff:
    """A claim hook that puts each job off once, by the milliseconds given for its id."""

    def __init__(self, **waits_ms: int) -> None:
        self.waits_ms = waits_ms
        self.due_ms: dict[str, int] = {}
        self.claims: list[str] = []

    async def __call__(self, claims: Sequence[Claim[Any]]) -> dict[str, ClaimAnswer]:
        self.claims += [claim.job_id for claim in claims]
        first = [claim.job_id for claim in claims if claim.job_id not in self.due_ms]
        self.due_ms |= {job_id: now_ms() + self.waits_ms[job_id] for job_id in first}
        return {job_id: Later(self.due_ms[job_id]) for job_id in first}


async def is_waiting(stage: Stage, job_id: str, score: int) -> bool:
    return bool(await stage.redis.zscore("arq:queue", job_id) == score)


async def test_a_job_put_off_is_deferred_for_arqs_clients_and_runs_when_due_with_no_try_spent(stage: Stage) -> None:
    put_off = PutOff(x=800)
    await stage.start([ANSWER], on_claim=put_off, max_tries=1)
    await stage.enqueue("answer", _job_id="x")
    payload = await stage.redis.get("arq:job:x")
    await until(lambda: put_off.due_ms)
    await until(lambda: is_waiting(stage, "x", put_off.due_ms["x"]))
    assert await Job("x", stage.redis).status() is JobStatus.deferred
    assert await stage.redis.get("arq:job:x") == payload
    assert await stage.redis.exists("arq:in-progress:x", "arq:retry:x") == 0
    await until(lambda: stage.ended("x"))
    (outcome,) = stage.outcomes
    assert (outcome.result, outcome.claim.job_try, outcome.claim.score) == (42, 1, put_off.due_ms["x"])
    assert outcome.start_ms >= put_off.due_ms["x"]
    assert put_off.claims == ["x", "x"]


async def test_jobs_put_off_run_in_the_order_of_their_new_times(stage: Stage) -> None:
    put_off = PutOff(a=300, b=100, c=200)
    for job_id in "abc":
        await stage.enqueue("answer", _job_id=job_id)
    await stage.run_burst([ANSWER], on_claim=put_off, max_jobs=1)
    assert put_off.claims == ["a", "b", "c", "b", "c", "a"]
    assert [outcome.job_id for outcome in stage.outcomes] == ["b", "c", "a"]


async def test_a_hook_that_always_answers_later_does_not_keep_the_worker_busy(stage: Stage) -> None:
    asked_at: list[float] = []

    async def always_later(claims: Sequence[Claim[Any]]) -> dict[str, ClaimAnswer]:
        asked_at.append(time.monotonic())
        return {claim.job_id: Later(0) for claim in claims}

    await stage.enqueue("answer", _job_id="x")
    await stage.start([ANSWER], on_claim=always_later)
    await until(lambda: len(asked_at) == 5)
    assert asked_at[-1] - asked_at[0] > 4 * 0.099
    assert await stage.redis.exists("arq:retry:x") == 0


@pytest.mark.parametrize("kill_at", [pytest.param("", marks=pytest.mark.chaos), "release.before"])
async def test_a_job_put_off_survives_the_kill_of_its_worker(stage: Stage, kill_at: str) -> None:
    with worker_process(stage.server, 500, kill_at, lease_s=0.5) as process:
        await stage.enqueue("sleep", 0, _job_id="x")
        if kill_at:
            await until(lambda: process.poll() is not None)  # claimed, and not put back
        else:
            await until(lambda: is_put_back(stage, "x"))
            process.send_signal(signal.SIGKILL)
    await stage.run_burst([func(sleep_no_more, name="sleep")])
    (outcome,) = stage.outcomes
    assert outcome.result == "ran"
    assert outcome.claim.job_try == (2 if kill_at else 1)  # a worker that dies with a job costs a try, as ever


async def sleep_no_more(ctx: dict[Any, Any], seconds: float) -> str:
    return "ran"


async def is_put_back(stage: Stage, job_id: str) -> bool:
    is_deferred = (await stage.redis.zscore("arq:queue", job_id) or 0) > now_ms()
    return is_deferred and not await stage.redis.exists(f"arq:in-progress:{job_id}")


async def test_a_job_is_put_off_although_redis_lost_everything_meanwhile(stage: Stage) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()
    put_off = PutOff(x=300)

    async def slow(claims: Sequence[Claim[Any]]) -> dict[str, ClaimAnswer]:
        asked.set()
        await may_answer.wait()
        return await put_off(claims)

    await stage.start([ANSWER], on_claim=slow)
    await stage.enqueue("answer", _job_id="x")
    await asked.wait()
    stage.server.stop()
    may_answer.set()
    await until(lambda: put_off.due_ms)
    stage.server.start()  # empty
    await until(lambda: stage.ended("x"))
    (outcome,) = stage.outcomes
    assert (outcome.result, outcome.claim.job_try) == (42, 1)
    assert outcome.start_ms >= put_off.due_ms["x"]


async def test_a_job_that_another_worker_took_over_is_not_put_off(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async def overtaken(claims: Sequence[Claim[Any]]) -> dict[str, ClaimAnswer]:
        await stage.redis.set("arq:in-progress:x", "another worker:1", px=60_000)
        await stage.redis.zadd("arq:queue", {"x": 4_000_000_000_000})
        return {"x": Later(now_ms())}

    worker = await stage.start([ANSWER], on_claim=overtaken)
    await stage.enqueue("answer", _job_id="x")
    await until(lambda: "was taken over by another worker" in caplog.text)
    await until(lambda: worker.job_counter == 0)
    assert await stage.redis.get("arq:in-progress:x") == b"another worker:1"
    assert await stage.redis.zscore("arq:queue", "x") == 4_000_000_000_000


async def test_a_job_that_cannot_run_is_not_put_off_but_ends(stage: Stage) -> None:
    put_off = PutOff(x=60_000)
    await stage.enqueue("answer", _job_id="x")
    await stage.redis.delete("arq:job:x")
    await stage.run_burst([ANSWER], on_claim=put_off)
    (outcome,) = stage.outcomes
    assert (outcome.reason, put_off.claims) == (OutcomeReason.EXPIRED, ["x"])


async def test_a_job_put_off_can_be_aborted_by_arqs_clients(stage: Stage) -> None:
    put_off = PutOff(x=60_000)
    await stage.start([ANSWER], on_claim=put_off, allow_abort_jobs=True)
    await stage.enqueue("answer", _job_id="x")
    await until(lambda: is_put_back(stage, "x"))
    with pytest.raises(TimeoutError):  # it waits for a result
        await Job("x", stage.redis, _deserializer=deserialize).abort(timeout=0)
    await until(lambda: stage.ended("x"))
    assert [outcome.reason for outcome in stage.outcomes] == [OutcomeReason.ABORTED]
