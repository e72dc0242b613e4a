"""The claim hook, the data both hooks get, cancellation, and counts of started jobs."""

import asyncio
import pickle
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from arq.jobs import Job, SerializationError, serialize_job
from arq.worker import func

from engine_support import DEADLINE_S, Gate, Stage, deserialize, until
from everpost_workers.engine import DROP, Claim, ClaimAnswer, JobOutcome, OutcomeReason


async def answer(ctx: dict[Any, Any], *args: Any) -> int:
    return 42


ANSWER = func(answer, name="answer")


async def nothing_left(stage: Stage) -> bool:
    return await stage.left_keys() == set()


async def test_the_claim_hook_hears_of_a_whole_batch_before_anything_of_it_starts(stage: Stage) -> None:
    batches: list[list[Claim[Any]]] = []
    gate = Gate()
    gate.open()

    async def on_claim(claims: Sequence[Claim[Any]]) -> Mapping[str, ClaimAnswer]:
        assert gate.entered == []
        batches.append(list(claims))
        return {}

    for number in range(5):
        await stage.enqueue("gate", _job_id=f"x{number}")
    await stage.redis.delete("arq:job:x3")
    await stage.run_burst([func(gate.job, name="gate")], on_claim=on_claim)
    (batch,) = batches
    assert [claim.job_id for claim in batch] == [f"x{number}" for number in range(5)]
    assert [claim.ends_as for claim in batch] == [None, None, None, OutcomeReason.EXPIRED, None]
    assert (batch[0].function, batch[0].args, batch[0].kwargs, batch[0].job_try) == ("gate", (), {}, 1)
    assert batch[0].queue_name == "arq:queue"
    assert batch[0].score == pytest.approx(batch[0].enqueue_time_ms, abs=2)


async def test_a_refused_job_is_removed_without_a_trace(stage: Stage) -> None:
    async def on_claim(claims: Sequence[Claim[Any]]) -> Mapping[str, ClaimAnswer]:
        return {"no": DROP}

    ran: list[str] = []

    async def job(ctx: dict[Any, Any]) -> None:
        ran.append(ctx["job_id"])

    await stage.enqueue("job", _job_id="no")
    await stage.enqueue("job", _job_id="yes")
    worker = await stage.run_burst([func(job, name="job")], on_claim=on_claim)
    assert (ran, worker.jobs_complete, worker.jobs_failed) == (["yes"], 1, 0)
    assert [outcome.job_id for outcome in stage.outcomes] == ["yes"]
    assert await stage.redis.exists("arq:result:no") == 0
    assert await nothing_left(stage)


async def test_the_claim_hooks_context_reaches_the_job_and_its_outcome(stage: Stage) -> None:
    async def on_claim(claims: Sequence[Claim[Any]]) -> Mapping[str, ClaimAnswer]:
        for claim in claims:
            claim.context = 7
        return {}

    async def job(ctx: dict[Any, Any]) -> int:
        return int(ctx["context"])

    await stage.enqueue("job", _job_id="x")
    await stage.run_burst([func(job, name="job")], on_claim=on_claim)
    assert (stage.outcomes[0].result, stage.outcomes[0].claim.context) == (7, 7)


async def test_a_failing_claim_hook_spends_no_try_and_leaves_the_score(stage: Stage) -> None:
    calls: list[str] = []

    async def on_claim(claims: Sequence[Claim[Any]]) -> Mapping[str, ClaimAnswer]:
        calls.append(claims[0].job_id)
        if len(calls) < 3:
            raise OSError("database is locked")
        return {}

    await stage.enqueue("answer", _job_id="x")
    score = await stage.redis.zscore("arq:queue", "x")
    await stage.start([ANSWER], on_claim=on_claim, max_tries=1)
    await until(lambda: calls)
    await until(lambda: _has_score(stage, score))
    await until(lambda: stage.ended("x"))
    assert (calls, stage.outcomes[0].claim.job_try, stage.outcomes[0].success) == (["x"] * 3, 1, True)


async def _has_score(stage: Stage, score: float) -> bool:
    return await stage.redis.zscore("arq:queue", "x") in {score, None}


async def test_a_stop_during_the_claim_hook_hands_the_batch_back(stage: Stage) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def on_claim(claims: Sequence[Claim[Any]]) -> Mapping[str, ClaimAnswer]:
        asked.set()
        await may_answer.wait()
        return {}

    worker = await stage.start([ANSWER], on_claim=on_claim)
    await stage.enqueue("answer", _job_id="x")
    score = await stage.redis.zscore("arq:queue", "x")
    await asked.wait()
    closing = asyncio.create_task(worker.close())
    await until(lambda: not worker.allow_pick_jobs)
    may_answer.set()
    await closing
    assert worker.jobs_complete == 0
    assert await stage.redis.exists("arq:in-progress:x", "arq:retry:x") == 0
    assert await stage.redis.zscore("arq:queue", "x") <= score + 1


async def test_the_next_outcomes_do_not_wait_for_a_slow_record(stage: Stage) -> None:
    under_way: list[str] = []
    recorded = asyncio.Event()

    async def on_complete(outcomes: Sequence[JobOutcome[Any]]) -> None:
        under_way.extend(outcome.job_id for outcome in outcomes)
        await recorded.wait()
        await stage.on_complete(outcomes)

    await stage.start([ANSWER], on_complete=on_complete)
    for number in range(3):
        await stage.enqueue("answer", _job_id=f"x{number}")
        await until(partial(under_way.count, f"x{number}"), f"the outcome of x{number}")
    recorded.set()
    await until(lambda: len(stage.outcomes) == 3)
    assert under_way == ["x0", "x1", "x2"]


async def test_outcomes_that_cannot_be_recorded_hold_up_none_that_come_later(stage: Stage) -> None:
    tried: set[str] = set()

    async def on_complete(outcomes: Sequence[JobOutcome[Any]]) -> None:
        tried.update(outcome.job_id for outcome in outcomes)
        if any(outcome.job_id in odd for outcome in outcomes):
            raise ValueError("it cannot be recorded")
        await stage.on_complete(outcomes)

    odd = [f"odd{number}" for number in range(6)]
    await stage.start([ANSWER], on_complete=on_complete)
    for job_id in odd:  # each a batch
        await stage.enqueue("answer", _job_id=job_id)
        await until(partial(tried.__contains__, job_id), f"the outcome of {job_id}")
    await stage.enqueue("answer", _job_id="usual")
    await until(lambda: [outcome.job_id for outcome in stage.outcomes] == ["usual"])
    odd.clear()
    await until(lambda: len(stage.outcomes) == 7)


async def test_an_aborted_running_job_is_cancelled_and_recorded(stage: Stage) -> None:
    gate = Gate()
    await stage.start([func(gate.job, name="gate")], allow_abort_jobs=True)
    job_id = await stage.enqueue("gate")
    await until(lambda: gate.entered)
    with pytest.raises(SerializationError, match="CancelledError"):  # all that msgpack can carry of the exception
        await Job(job_id, stage.redis, _deserializer=deserialize).abort(timeout=DEADLINE_S, poll_delay=0.02)
    assert [outcome.reason for outcome in stage.outcomes] == [OutcomeReason.ABORTED]
    assert isinstance(stage.outcomes[0].result, asyncio.CancelledError)
    assert gate.cancelled == [job_id]
    await until(lambda: nothing_left(stage))


@pytest.mark.parametrize("is_aborted", [True, False], ids=["aborted", "not run again after a shutdown"])
async def test_the_pickled_result_of_a_cancelled_job_needs_nothing_but_arq(stage: Stage, is_aborted: bool) -> None:
    gate = Gate()
    pickled: dict[str, Any] = {"job_serializer": None, "job_deserializer": None, "on_complete": None}
    functions = [func(gate.job, name="gate")]
    worker = await stage.start(functions, allow_abort_jobs=True, retry_jobs=False, **pickled)
    await stage.redis.set("arq:job:x", serialize_job("gate", (), {}, None, 0))
    await stage.redis.zadd("arq:queue", {"x": 0})
    await until(lambda: gate.entered)
    if is_aborted:
        assert await Job("x", stage.redis).abort(timeout=DEADLINE_S, poll_delay=0.02)
    else:
        await worker.close()
    result = await stage.redis.get("arq:result:x")
    assert b"workers" not in result
    assert repr(pickle.loads(result)["r"]) == "CancelledError()"


async def test_a_job_that_swallows_its_timeout_ends_as_it_says(stage: Stage) -> None:
    async def stubborn(ctx: dict[Any, Any]) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "finished anyway"
        return ""

    await stage.enqueue("stubborn", _job_id="x")
    await stage.run_burst([func(stubborn, name="stubborn", timeout=0.05)])
    assert (stage.outcomes[0].reason, stage.outcomes[0].result) == ("complete", "finished anyway")


async def test_the_hooks_after_a_cancelled_attempt_are_not_cancelled_with_it(stage: Stage) -> None:
    pending: list[int] = []

    async def on_job_end(ctx: dict[Any, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None
        pending.append(task.cancelling())

    await stage.enqueue("gate", _job_id="x")
    await stage.run_burst([func(Gate().job, name="gate", timeout=0.05)], on_job_end=on_job_end)
    assert (pending, stage.outcomes[0].reason) == ([0], "timeout")


async def test_each_job_has_its_own_time_limit(stage: Stage) -> None:
    gate = Gate()
    functions = [func(gate.job, name="slow", timeout=3600), func(gate.job, name="fast", timeout=0.1)]
    await stage.start(functions)
    await stage.enqueue("slow", _job_id="slow")
    await until(lambda: gate.entered)
    await stage.enqueue("fast", _job_id="fast")
    await until(lambda: stage.outcomes)
    assert [(outcome.job_id, outcome.reason) for outcome in stage.outcomes] == [("fast", "timeout")]
    gate.open()
    await until(lambda: stage.ended("slow"))


async def test_no_more_than_max_jobs_run_at_a_time(stage: Stage) -> None:
    gate = Gate()
    worker = await stage.start([func(gate.job, name="gate")], max_jobs=3)
    for number in range(7):
        await stage.enqueue("gate", _job_id=f"x{number}")
    await until(lambda: len(gate.entered) == 3)
    assert worker.job_counter == 3
    assert await stage.redis.zcount("arq:queue", "-inf", "+inf") == 7
    gate.open()
    await until(lambda: len(stage.outcomes) == 7)


async def test_a_single_slot_serves_the_less_urgent_queue_every_tenth_time(stage: Stage) -> None:
    for number in range(20):
        await stage.enqueue("answer", _job_id=f"urgent-{number:02}", _queue_name="urgent")
    await stage.enqueue("answer", _job_id="late", _queue_name="late")
    await stage.run_burst([ANSWER], queue_names=["urgent", "late"], max_jobs=1)
    assert [outcome.job_id for outcome in stage.outcomes].index("late") == 9


async def test_messages_cause_no_claims_while_every_slot_is_taken(stage: Stage) -> None:
    gate = Gate()
    await stage.start([func(gate.job, name="gate")], max_jobs=1, poll_delay=3600)
    await stage.enqueue("gate", _job_id="x0")
    await until(lambda: gate.entered)
    await stage.redis.config_resetstat()
    for number in range(1, 200):
        await stage.enqueue("gate", _job_id=f"x{number}")
    stats = await stage.redis.info("commandstats")
    assert "cmdstat_evalsha" not in stats
    gate.open()
    await until(lambda: len(stage.outcomes) == 200)


async def test_a_main_run_as_a_task_of_its_own_ends_when_the_worker_is_closed(stage: Stage) -> None:
    worker = await stage.start([ANSWER], poll_delay=3600)
    main_task, worker.main_task = worker.main_task, None
    assert main_task is not None
    await worker.close()
    await asyncio.wait_for(main_task, DEADLINE_S)


async def test_a_main_run_as_a_task_of_its_own_keeps_its_connections_until_it_has_left(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await stage.start([ANSWER])
    main_task, worker.main_task = worker.main_task, None
    assert main_task is not None
    beats, is_shut, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def record_late() -> None:
        beats.set()
        await gate.wait()
        await worker.pool.ping()

    async def on_shutdown(ctx: dict[Any, Any]) -> None:
        is_shut.set()

    worker.record_health, worker.on_shutdown = record_late, on_shutdown  # type: ignore[method-assign]
    await asyncio.wait_for(beats.wait(), DEADLINE_S)
    closing = asyncio.create_task(worker.close())
    await asyncio.wait_for(is_shut.wait(), DEADLINE_S)
    await asyncio.wait((closing,), timeout=0.2)  # all it would take to disconnect
    gate.set()
    await asyncio.wait_for(asyncio.gather(closing, main_task), DEADLINE_S)
    assert "the worker's loop failed" not in caplog.text


class PanicError(BaseException):
    """No Exception, as what Rust libraries raise when they panic."""


async def test_a_job_that_raises_a_base_exception_ends_as_failed(stage: Stage) -> None:
    async def panic(ctx: dict[Any, Any]) -> None:
        raise PanicError

    worker = await stage.start([func(panic, name="panic")], max_jobs=1)
    await stage.enqueue("panic", _job_id="x")
    await stage.enqueue("panic", _job_id="y")
    await until(lambda: stage.ended("x") and stage.ended("y"))
    assert stage.outcomes[0].reason is OutcomeReason.FAILED
    await until(lambda: worker.job_counter == 0)


@pytest.mark.parametrize("raised", [asyncio.CancelledError, PanicError])
@pytest.mark.parametrize("hook", ["on_claim", "on_complete"])
async def test_a_hook_that_raises_a_base_exception_is_called_again(
    stage: Stage, hook: str, raised: type[BaseException]
) -> None:
    calls: list[int] = []

    async def fail_first(batch: Sequence[Any]) -> dict[str, Any]:
        calls.append(len(batch))
        if len(calls) == 1:
            raise raised
        return {}

    worker = await stage.start([ANSWER], max_jobs=1, **{hook: fail_first})
    job_id = await stage.enqueue("answer")
    await until(lambda: len(calls) == 2 and worker.job_counter == 0)
    result = await Job(job_id, stage.redis, _deserializer=deserialize).result_info()
    assert result is not None
    assert (result.success, result.job_try) == (True, 1)
