"""Jobs that ignore their cancellation, or block the event loop: their worker reports it and ends."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from arq.worker import func

from engine_support import Gate, Server, Stage, empty_stage, shorten, until, worker_process
from everpost_workers.engine import OutcomeReason, StuckJobsError


@pytest.fixture
async def stage(server: Server) -> AsyncIterator[Stage]:
    async with empty_stage(server) as stage:
        try:
            yield stage
        finally:
            Deaf.all_may_end()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch, insist=0.05)


class Deaf:
    """A job that catches so many cancellations."""

    _all: ClassVar[list["Deaf"]] = []

    def __init__(self, most: int) -> None:
        self._all.append(self)
        self.caught = 0
        self._most = most
        self.may_end = asyncio.Event()

    @classmethod
    def all_may_end(cls) -> None:
        for deaf in cls._all:
            deaf.may_end.set()
        cls._all.clear()

    async def job(self, ctx: dict[Any, Any]) -> str:
        while not self.may_end.is_set():
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                self.caught += 1
                if self.caught > self._most:
                    raise
        return "ended"


async def test_a_job_that_catches_a_cancellation_or_two_is_cancelled_again(stage: Stage) -> None:
    deaf = Deaf(2)
    worker = await stage.start([func(deaf.job, name="deaf", timeout=0.05)], max_jobs=1)
    await stage.enqueue("deaf", _job_id="x")
    await stage.enqueue("deaf", _job_id="y")
    await until(lambda: stage.ended("x") and stage.ended("y"))
    assert [outcome.reason for outcome in stage.outcomes] == [OutcomeReason.TIMEOUT] * 2
    await until(lambda: worker.job_counter == 0)
    assert worker.stuck_count == 0


async def test_a_worker_with_a_job_that_ignores_its_cancellation_ends_when_the_others_have(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    deaf, gate = Deaf(1_000), Gate()
    functions = [func(deaf.job, name="deaf", timeout=0.05), func(gate.job, name="gate")]
    worker = await stage.start(functions, max_jobs=3, lease=1)
    await stage.enqueue("deaf", _job_id="deaf")
    await stage.enqueue("gate", _job_id="other")
    await until(lambda: worker.stuck_count == 1)
    assert not worker.is_consuming
    assert f"{__file__}:" in caplog.text, "the log says where it hangs"
    await stage.enqueue("gate", _job_id="later")
    assert worker.main_task is not None
    await asyncio.wait((worker.main_task,), timeout=1.5)  # longer than the lease
    assert gate.entered == ["other"], "it claims no more"
    gate.open()
    with pytest.raises(StuckJobsError, match="deaf"):
        await worker.main_task
    assert [outcome.job_id for outcome in stage.outcomes] == ["other"]
    await worker.close()
    next_worker = await stage.start(functions, lease=1)
    await until(lambda: stage.ended("later"))
    await asyncio.wait((next_worker.main_task,), timeout=1.5) if next_worker.main_task else None
    assert deaf.caught == 4, "no other worker runs it while it goes on"


async def test_a_stuck_job_that_ends_after_all_keeps_its_worker_going(stage: Stage) -> None:
    deaf = Deaf(1_000)
    worker = await stage.start([func(deaf.job, name="deaf", timeout=0.05)], max_jobs=2)
    blocker = Gate()
    worker.functions["gate"] = func(blocker.job, name="gate")
    await stage.enqueue("gate", _job_id="other")
    await stage.enqueue("deaf", _job_id="deaf")
    await until(lambda: worker.stuck_count == 1)
    deaf.may_end.set()
    await until(lambda: stage.ended("deaf"))
    assert worker.stuck_count == 0
    await stage.enqueue("deaf", _job_id="next")
    await until(lambda: stage.ended("next"))
    blocker.open()


async def test_a_blocked_loop_is_told_of(stage: Stage) -> None:
    told = threading.Event()

    async def block(ctx: dict[Any, Any]) -> bool:
        return told.wait(10)

    await stage.start([func(block, name="block")], lease=1, blocked_s=0.5, on_blocked=told.set)
    job_id = await stage.enqueue("block")
    await until(lambda: stage.ended(job_id))
    assert stage.outcomes[0].result is True


async def test_a_process_that_stood_still_is_not_told_of_as_blocked(stage: Stage) -> None:
    """Otherwise a worker that was stopped for a while, for instance with its whole machine, would end its jobs."""
    with worker_process(stage.server, "", "", 1, lease_s=0.3) as process:
        await stage.enqueue("stop_process", _job_id="x")
        await until(lambda: stage.redis.exists("ran"))
        status = Path(f"/proc/{process.pid}/stat")
        await until(lambda: status.read_text("ascii").rpartition(")")[2].split()[0] == "T", "a process that is stopped")
        stopped_at = time.monotonic()
        await until(lambda: time.monotonic() > stopped_at + 1.5)
        process.send_signal(signal.SIGCONT)
        await until(lambda: stage.redis.exists("recorded"), "the end of the job")
        assert process.poll() is None
