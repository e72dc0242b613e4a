"""Jobs that the claim hook hands over to another sorted set: no try spent, and lost by no crash."""

import signal
from collections.abc import Awaitable, Sequence
from typing import Any, cast

import pytest
from arq.worker import func

from engine_support import Gate, Stage, until, worker_process
from everpost_workers.engine import Claim, ClaimAnswer, Elsewhere, OutcomeReason

OTHER, INDEX = "other:place", "other:index"


async def answer(ctx: dict[Any, Any]) -> int:
    return 42


ANSWER = func(answer, name="answer")


class HandOver:
    """A claim hook that hands each job over once."""

    def __init__(self, score: int | None = None) -> None:
        self.score = score
        self.seen: list[str] = []

    async def __call__(self, claims: Sequence[Claim[Any]]) -> dict[str, ClaimAnswer]:
        new = [claim.job_id for claim in claims if claim.job_id not in self.seen]
        self.seen += [claim.job_id for claim in claims]
        return {job_id: Elsewhere(OTHER, self.score) for job_id in new}


async def is_elsewhere(stage: Stage, job_id: str) -> bool:
    return await stage.redis.zscore(OTHER, job_id) is not None


async def test_a_job_handed_over_is_in_the_other_set_with_its_payload_and_no_try_spent(stage: Stage) -> None:
    hand_over = HandOver(score=17)
    await stage.start([ANSWER], on_claim=hand_over, max_tries=1, elsewhere_index=INDEX)
    await stage.enqueue("answer", _job_id="x")
    payload = await stage.redis.get("arq:job:x")
    await until(lambda: is_elsewhere(stage, "x"))
    assert await stage.redis.zscore(OTHER, "x") == 17
    assert await cast("Awaitable[bytes]", stage.redis.hget(INDEX, "x")) == OTHER.encode()
    assert await stage.redis.zscore("arq:queue", "x") is None
    assert await stage.redis.get("arq:job:x") == payload
    assert await stage.redis.exists("arq:in-progress:x", "arq:retry:x") == 0
    await stage.redis.zrem(OTHER, "x")
    await stage.redis.zadd("arq:queue", {"x": 1})
    await until(lambda: stage.ended("x"))
    (outcome,) = stage.outcomes
    assert (outcome.result, outcome.claim.job_try) == (42, 1)


async def test_a_job_keeps_its_score_if_the_hook_names_none(stage: Stage) -> None:
    await stage.enqueue("answer", _job_id="x")
    score = await stage.redis.zscore("arq:queue", "x")
    await stage.start([ANSWER], on_claim=HandOver())
    await until(lambda: is_elsewhere(stage, "x"))
    assert await stage.redis.zscore(OTHER, "x") == score


async def test_a_job_that_cannot_run_is_not_handed_over_but_ends(stage: Stage) -> None:
    await stage.enqueue("answer", _job_id="x")
    await stage.redis.delete("arq:job:x")
    await stage.run_burst([ANSWER], on_claim=HandOver())
    assert [outcome.reason for outcome in stage.outcomes] == [OutcomeReason.EXPIRED]


async def test_a_set_that_is_a_key_of_another_type_takes_no_job_and_loses_none(stage: Stage) -> None:
    hand_over = HandOver()
    await stage.redis.set(OTHER, "not a sorted set")
    await stage.start([ANSWER], on_claim=hand_over)
    await stage.enqueue("answer", _job_id="x")
    await until(lambda: stage.ended("x"))
    assert hand_over.seen == ["x", "x"]


@pytest.mark.parametrize("kill_at", [pytest.param("", marks=pytest.mark.chaos), "release.before"])
async def test_a_job_handed_over_survives_the_kill_of_its_worker(stage: Stage, kill_at: str) -> None:
    with worker_process(stage.server, OTHER, kill_at, lease_s=0.5) as process:
        await stage.enqueue("sleep", 0, _job_id="x")
        if kill_at:
            await until(lambda: process.poll() is not None)  # claimed, and not handed over
            assert await stage.redis.zscore("arq:queue", "x") is not None
        else:
            await until(lambda: is_elsewhere(stage, "x"))
            process.send_signal(signal.SIGKILL)
            assert await stage.redis.zscore("arq:queue", "x") is None
        assert await stage.redis.exists("arq:job:x")


async def test_the_hook_hears_of_every_job_that_the_worker_lets_go(stage: Stage) -> None:
    gate, released = Gate(), list[str]()

    def note(claims: Sequence[Claim[Any]]) -> None:
        released.extend(claim.job_id for claim in claims)

    async def hand_over(claims: Sequence[Claim[Any]]) -> dict[str, ClaimAnswer]:
        return {claim.job_id: Elsewhere(OTHER) for claim in claims if claim.job_id == "elsewhere"}

    worker = await stage.start(
        [ANSWER, func(gate.job, name="gate")], on_claim=hand_over, on_released=note, job_completion_wait=0
    )
    for job_id, function in (("ended", "answer"), ("unknown", "nothing"), ("elsewhere", "answer"), ("cut", "gate")):
        await stage.enqueue(function, _job_id=job_id)
    await until(lambda: set(released) == {"ended", "unknown", "elsewhere"})
    await until(lambda: gate.entered)
    await worker.close()
    assert sorted(released) == ["cut", "elsewhere", "ended", "unknown"]
