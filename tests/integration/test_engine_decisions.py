"""What the engine decides: what follows a try that raised, and which queues a claim reads."""

import asyncio
import inspect
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from arq.constants import abort_jobs_ss
from arq.jobs import Job
from arq.worker import Retry, RetryJob, Worker, func

from engine_support import Call, Stage, WatchedRedis, until
from everpost_workers.engine import DROP, Backoff, BatchWorker, Claim, ClaimAnswer, OutcomeReason

ERRORS: dict[str, BaseException] = {
    "retry": Retry(),
    "retry job": RetryJob(),
    "cancelled": asyncio.CancelledError(),
    "error": OSError(),
}


class Raising:
    """A job that raises at its first try, at once or when it is cancelled, and then returns."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    async def job(self, ctx: dict[Any, Any], error: str, *, when_cancelled: bool = False) -> None:
        self.begun.append(ctx["job_id"])
        if self.begun.count(ctx["job_id"]) > 1:
            return
        try:
            if when_cancelled:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            if error == "cancelled":
                raise
        raise ERRORS[error]


@pytest.mark.parametrize(("may_retry", "again"), [(True, OutcomeReason.COMPLETE), (False, OutcomeReason.FAILED)])
async def test_a_job_that_asks_for_another_try_gets_it_if_the_worker_retries(
    stage: Stage, may_retry: bool, again: OutcomeReason
) -> None:
    await stage.start([func(Raising().job, name="job")], retry_jobs=may_retry)
    for error in ERRORS:
        await stage.enqueue("job", error, _job_id=error)
    await until(lambda: len(stage.outcomes) == len(ERRORS))
    reasons = {outcome.job_id: outcome.reason for outcome in stage.outcomes}
    assert reasons == {"retry": again, "retry job": again, "cancelled": again, "error": OutcomeReason.FAILED}


@pytest.mark.parametrize("may_retry", [True, False])
async def test_a_job_that_is_cut_off_ends_as_timed_out_or_aborted_whether_or_not_the_worker_retries(
    stage: Stage, may_retry: bool
) -> None:
    raising = Raising()
    functions = [func(raising.job, name="job"), func(raising.job, name="brief", timeout=0.05)]
    await stage.start(functions, retry_jobs=may_retry, allow_abort_jobs=True)
    for error in ("cancelled", "error"):
        await stage.enqueue("brief", error, when_cancelled=True, _job_id=f"brief {error}")
        await stage.enqueue("job", error, when_cancelled=True, _job_id=f"aborted {error}")
    await until(lambda: len(raising.begun) == 4)
    for error in ("cancelled", "error"):
        await stage.redis.zadd(abort_jobs_ss, {f"aborted {error}": 1})
    await until(lambda: len(stage.outcomes) == 4)
    assert {outcome.job_id: outcome.reason for outcome in stage.outcomes} == {
        "brief cancelled": OutcomeReason.TIMEOUT,
        "brief error": OutcomeReason.TIMEOUT,
        "aborted cancelled": OutcomeReason.ABORTED,
        "aborted error": OutcomeReason.FAILED,
    }


@pytest.mark.parametrize("may_retry", [True, False])
async def test_a_job_cut_off_by_a_stop_goes_back_without_a_try_spent_or_fails_if_the_worker_does_not_retry(
    stage: Stage, may_retry: bool
) -> None:
    raising = Raising()
    worker = await stage.start([func(raising.job, name="job")], retry_jobs=may_retry)
    for error in ("cancelled", "retry"):
        await stage.enqueue("job", error, when_cancelled=True, _job_id=error)
    await until(lambda: len(raising.begun) == 2)
    await worker.close()
    left = {error: await stage.redis.get(f"arq:retry:{error}") for error in ("cancelled", "retry")}
    reasons = [outcome.reason for outcome in stage.outcomes]
    if may_retry:
        assert (left, reasons) == ({"cancelled": None, "retry": b"1"}, [])
        assert await Job("cancelled", stage.redis).status() == "queued"
    else:
        assert (left, reasons) == ({"cancelled": None, "retry": None}, [OutcomeReason.FAILED] * 2)


async def claims_of(stage: Stage, queues: Sequence[str], jobs: int, *, slots: int) -> list[list[str]]:
    """The queues of the jobs of each claim of so many slots, while every queue has jobs."""
    claims: list[list[str]] = []

    async def note(claimed: Sequence[Claim[Any]]) -> dict[str, ClaimAnswer]:
        claims.append([claim.queue_name for claim in claimed])
        return {claim.job_id: DROP for claim in claimed}

    for queue in queues:
        for _ in range(jobs):
            await stage.enqueue("job", _queue_name=queue, wakes=False)
    await stage.run_burst([func(Raising().job, name="job")], queue_names=queues, max_jobs=slots, on_claim=note)
    return claims


async def test_a_tenth_of_each_claim_is_for_the_less_urgent_queues_in_turns(stage: Stage) -> None:
    claims = await claims_of(stage, ["a", "b", "c", "d"], 90, slots=30)
    assert [Counter(claimed) for claimed in claims[:3]] == [{"a": 27, name: 3} for name in ("d", "c", "b")]


async def test_every_tenth_claim_of_a_single_slot_is_for_the_less_urgent_queues(stage: Stage) -> None:
    claims = await claims_of(stage, ["a", "b"], 25, slots=1)
    assert [number for number, claimed in enumerate(claims[:20]) if claimed == ["b"]] == [9, 19]


@pytest.mark.parametrize(("queues", "slots"), [(1, 7), (2, 2), (10, 5), (10, 33)])
async def test_a_claim_fills_exactly_its_slots_and_most_of_them_from_the_most_urgent_queue(
    stage: Stage, queues: int, slots: int
) -> None:
    names = [f"q{number}" for number in range(queues)]
    (claimed, *_) = await claims_of(stage, names, slots, slots=slots)
    assert len(claimed) == slots
    assert sum(name != "q0" for name in claimed) == (max(1, slots // 10) if queues > 1 else 0)


async def test_a_worker_ends_although_redis_py_has_lost_its_cancellation(stage: Stage) -> None:
    is_calling, lost = asyncio.Event(), asyncio.Event()

    async def lose_cancellation(call: Call) -> Any:
        if not lost.is_set():
            is_calling.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost.set()
        return await call()

    pool = WatchedRedis(stage.server, lose_cancellation, command="ZCARD")
    worker = await stage.start([func(Raising().job, name="job")], redis_pool=pool)
    assert worker.main_task is not None
    await is_calling.wait()
    worker.main_task.cancel()
    await asyncio.wait((worker.main_task,), timeout=5)
    assert (lost.is_set(), worker.main_task.done()) == (True, True)


def test_a_backoff_doubles_up_to_its_limit_and_begins_again() -> None:
    backoff = Backoff(0.1, 5.0)
    waits = [backoff.next_s() for _ in range(8)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    backoff.reset()
    assert backoff.next_s() == pytest.approx(0.1)


def test_the_worker_takes_every_parameter_of_arqs() -> None:
    ours = inspect.signature(BatchWorker).parameters
    assert ours.keys() > inspect.signature(Worker).parameters.keys()
    assert {"queue_names", "lease", "on_claim", "on_complete", "wake_channel"} <= ours.keys()
