"""Redis away, frozen, read-only or full, and hooks that fail for a while: nothing is lost and no worker dies."""

import asyncio
import dataclasses
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from arq.cron import cron
from arq.worker import Retry, func
from redis.asyncio import UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from engine_support import Gate, Server, Stage, WatchedRedis, empty_stage, running_server, shorten, until
from everpost_workers.engine import JobOutcome
from fair_time import fair_s


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(params=[False, True], ids=["pool", "own connections"])
async def stage(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with empty_stage(server) as empty:
        empty.own_connections = request.param
        yield empty


async def answer(ctx: dict[Any, Any]) -> int:
    return 42


async def enqueue_when_up(stage: Stage, job_id: str) -> None:
    async def is_enqueued() -> bool:
        try:
            return bool(await stage.redis.enqueue_job("answer", _job_id=job_id))
        except (OSError, RedisError):
            return False

    await until(is_enqueued)


async def test_a_script_of_a_lost_connection_is_not_sent_again(server: Server) -> None:
    sent: list[bytes] = []
    lost: list[bytes] = []

    class Losing(UnixDomainSocketConnection):
        """Loses every tenth answer of a script. Claims, of which no two are the same, are most of them."""

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            packed = command if isinstance(command, bytes) else b"".join(command)
            if b"EVALSHA" in packed:
                sent.append(packed)
            await super().send_packed_command(command, check_health)

        async def read_response(self, *args: Any, **options: Any) -> Any:
            answer = await super().read_response(*args, **options)
            if len(sent) % 10 == 5 and sent[-1] not in lost:
                lost.append(sent[-1])
                raise RedisConnectionError("lost")
            return answer

    async with empty_stage(server) as stage:
        stage.own_connections = True
        pool = WatchedRedis(server, connection_class=Losing)
        await stage.start([func(answer, name="answer")], poll_delay=0.01, redis_pool=pool)
        await until(lambda: len(lost) == 3, "three lost answers")
        await stage.enqueue("answer", _job_id="x")
        await until(lambda: stage.ended("x"))
    assert len(set(sent)) == len(sent)


async def test_defect_09_a_worker_outlives_a_killed_and_emptied_redis(stage: Stage) -> None:
    gate = Gate()
    worker = await stage.start([func(answer, name="answer"), func(gate.job, name="gate")], max_jobs=3, lease=1)
    for number in range(3):
        await stage.enqueue("gate", _job_id=f"before-{number}")
    await until(lambda: len(gate.entered) == 3)
    stage.server.stop()
    gate.open()
    await until(lambda: len(stage.outcomes) == 3, "records while redis is away")
    assert worker.job_counter == 3
    stage.server.start()
    await until(lambda: worker.job_counter == 0, "the release of what ended meanwhile")
    for number in range(4):
        await enqueue_when_up(stage, f"after-{number}")
    await until(lambda: len(stage.outcomes) == 7)
    assert worker.main_task is not None
    assert not worker.main_task.done()
    assert len(gate.entered) == 3


async def test_the_wake_channel_is_subscribed_again_after_an_outage(stage: Stage) -> None:
    await stage.start([func(answer, name="answer")], poll_delay=3600)
    await until(lambda: _has_listener(stage))
    stage.server.stop()
    stage.server.start()
    await until(lambda: _has_listener(stage))
    await stage.enqueue("answer", _job_id="x")
    await until(lambda: stage.ended("x"))


async def _has_listener(stage: Stage) -> bool:
    try:
        return bool((await stage.redis.pubsub_numsub("everpost:wake"))[0][1])
    except (OSError, RedisError):
        return False


async def test_a_frozen_redis_is_given_up_on_within_3_s_and_found_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.start([func(answer, name="answer")])
    assert stage.server.process is not None
    stage.server.process.send_signal(signal.SIGSTOP)
    began = fair_s()
    try:
        await until(lambda: "redis trouble" in caplog.text, "a worker that has given up on Redis")
    finally:
        stage.server.process.send_signal(signal.SIGCONT)
    assert fair_s() - began < 3
    await stage.enqueue("answer", _job_id="x")
    await until(lambda: stage.ended("x"))


async def test_jobs_that_ended_while_redis_was_frozen_for_longer_than_a_lease_do_not_run_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, answer=0.3)
    gate = Gate()
    worker = await stage.start([func(gate.job, name="gate")], max_jobs=20, lease=0.5)
    for number in range(10):
        await stage.enqueue("gate", _job_id=f"x{number}")
    await until(lambda: len(gate.entered) == 10)
    assert stage.server.process is not None
    stage.server.process.send_signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    gate.open()
    await until(lambda: len(stage.outcomes) == 10 and time.monotonic() > frozen_at + 1.5)
    stage.server.process.send_signal(signal.SIGCONT)
    await until(lambda: worker.job_counter == 0)
    await until(lambda: _holds_nothing(stage))
    assert len(gate.entered) == len(stage.outcomes) == 10


async def _holds_nothing(stage: Stage) -> bool:
    return await stage.left_keys() == set()


async def test_a_read_only_redis_is_waited_for(stage: Stage) -> None:
    await stage.start([func(answer, name="answer")])
    await stage.enqueue("answer", _job_id="x", _defer_by=0.5)
    await stage.redis.replicaof("127.0.0.1", "1")
    await until(lambda: _refuses(stage))
    await stage.redis.replicaof("NO", "ONE")
    await until(lambda: stage.ended("x"))
    assert stage.outcomes[0].success


async def _refuses(stage: Stage) -> bool:
    errors = await stage.redis.info("errorstats")
    return "errorstat_READONLY" in errors


async def test_a_full_redis_still_releases_jobs_and_renews_leases(stage: Stage) -> None:
    gate = Gate()
    worker = await stage.start([func(gate.job, name="gate")], lease=0.5)
    await stage.enqueue("gate", _job_id="x")
    await until(lambda: gate.entered)
    await stage.redis.config_set("maxmemory-policy", "noeviction")
    await stage.redis.config_set("maxmemory", "1")
    await stage.redis.config_resetstat()

    async def is_renewed_twice() -> bool:
        stats = await stage.redis.info("commandstats")
        return bool(stats.get("cmdstat_pexpire", {"calls": 0})["calls"] >= 4)

    await until(is_renewed_twice)
    assert await stage.redis.exists("arq:in-progress:x") == 1
    gate.open()
    await until(lambda: worker.job_counter == 0)
    assert stage.ended("x")[0].success
    assert await stage.redis.exists("arq:in-progress:x", "arq:job:x", "arq:queue") == 0
    await stage.redis.config_set("maxmemory", "0")


async def test_a_cron_job_that_ends_in_a_full_redis_holds_up_no_other(stage: Stage) -> None:
    gate = Gate()
    daily = cron(gate.job, name="daily", hour=0, minute=0, second=0, run_at_startup=True)
    worker = await stage.start([func(gate.job, name="gate")], cron_jobs=[daily])
    await stage.enqueue("gate", _job_id="x")
    await until(lambda: len(gate.entered) == 2)
    await stage.redis.config_set("maxmemory-policy", "noeviction")
    await stage.redis.config_set("maxmemory", "1")
    gate.open()
    await until(lambda: worker.job_counter == 0)
    assert await stage.redis.exists("arq:job:x", "arq:queue") == 0
    await stage.redis.config_set("maxmemory", "0")


async def test_outcomes_wait_for_a_failing_record_with_their_slots_and_leases(stage: Stage) -> None:
    calls: list[list[str]] = []
    is_broken = True

    async def on_complete(outcomes: Sequence[JobOutcome[Any]]) -> None:
        calls.append([outcome.job_id for outcome in outcomes])
        if is_broken:
            raise OSError("disk full")
        await stage.on_complete(outcomes)

    ran: list[str] = []

    async def job(ctx: dict[Any, Any]) -> None:
        ran.append(ctx["job_id"])

    worker = await stage.start([func(job, name="job")], max_jobs=2, lease=0.5, on_complete=on_complete)
    for number in range(20):
        await stage.enqueue("job", _job_id=f"x{number:02}")
    await until(lambda: len(calls) >= 4, "repeated calls")
    begun = len(ran)
    assert begun <= 2 * 4  # the jobs that a worker holds for each slot
    assert worker.job_counter == begun
    assert await stage.redis.exists(*(f"arq:in-progress:{job_id}" for job_id in ran)) == begun
    await until(lambda: len(calls) >= 5, "more calls, later than a lease lasts")
    assert len(ran) == begun
    is_broken = False
    await until(lambda: len(stage.outcomes) == 20)
    assert sorted(ran) == [f"x{number:02}" for number in range(20)]


async def test_a_stop_while_the_record_fails_gives_up_and_leaves_the_lease(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, grace=0.3)
    calls: list[int] = []

    async def on_complete(outcomes: Sequence[JobOutcome[Any]]) -> None:
        calls.append(len(outcomes))
        raise OSError("disk full")

    worker = await stage.start([func(answer, name="answer")], lease=1, on_complete=on_complete)
    await stage.enqueue("answer", _job_id="x")
    await until(lambda: calls)
    await asyncio.wait_for(worker.close(), 10)
    assert await stage.redis.exists("arq:job:x") == 1
    await stage.start([func(answer, name="answer")], lease=1)
    await until(lambda: stage.ended("x"))


async def test_a_stop_while_redis_is_away_ends_in_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch, grace=0.3)
    gate = Gate()
    worker = await stage.start([func(gate.job, name="gate")])
    await stage.enqueue("gate", _job_id="x")
    await until(lambda: gate.entered)
    stage.server.stop()
    await asyncio.wait_for(worker.close(), 10)
    assert gate.cancelled == ["x"]
    stage.server.start()


async def test_a_worker_that_may_not_wake_others_still_runs_its_jobs(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async def again(ctx: dict[Any, Any]) -> int:
        if ctx["job_try"] == 1:
            raise Retry(defer=0)
        return 42

    # In Redis 7 and later channels are given apart from keys and commands.
    await stage.redis.acl_setuser("arq", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"])
    settings = dataclasses.replace(stage.server.settings, username="arq", password="secret")
    await stage.start([func(again, name="again"), func(answer, name="answer")], redis_settings=settings)
    await stage.enqueue("again", _job_id="x")
    await until(lambda: len(stage.ended("x")) == 1)
    await stage.enqueue("answer", _job_id="y")
    await until(lambda: len(stage.ended("y")) == 1)
    assert stage.ended("x")[0].result == 42
    assert caplog.text.count("may not listen on everpost:wake") == 1
