"""`everpost doctor` and /health/ready: each thing they check is broken once, and they report it."""

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cli_support import serving, until
from doctor_support import LATER_MS, by_name, checks, later_clock, redis_findings
from engine_support import shorten
from everpost.cli.doctor import examine
from everpost.clock import system_clock
from everpost.errors import DatabaseBusy
from everpost.store.maintenance import Depth
from everpost.testing import Stack, eventually, everpost_stack


async def fail(*_: object) -> None:
    raise DatabaseBusy


def consuming(stack: Stack) -> Any:
    async def is_consuming() -> bool:
        return bool((await checks(stack))["worker"]["ok"])

    return eventually(is_consuming, what="a consuming worker")


async def test_a_stack_that_works_is_found_well(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, durable=True) as stack:
        await consuming(stack)
        await stack.wait_until_ended(await stack.publish())
        found = by_name(await examine(stack.settings, Depth.THOROUGH))
        ill = {name for name, finding in found.items() if finding.ok is False}
        assert ill <= {"disk free", "ready"}  # of the machine, and of a server the stack does not have
        assert found["consuming"].value == "1"
        assert (found["integrity_check"].value, found["in two tables"].value) == ("ok", "none")
        assert (found["dispatch"].ok, found["relay lag"].ok) == (True, True)


async def test_a_redis_that_may_drop_tasks_is_found(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0, durable=True) as stack:
        found = await redis_findings(stack)
        assert (found["maxmemory-policy"].ok, found["append-only file"].ok) == (True, True)
        await stack.queue.redis.config_set("maxmemory-policy", "allkeys-lru")
        await stack.queue.redis.config_set("appendonly", "no")
        found = await redis_findings(stack)
        assert (found["maxmemory-policy"].ok, found["append-only file"].ok) == (False, False)


async def test_a_redis_that_refuses_writes_is_found_and_readiness_tells_of_a_wrong_policy(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        redis = stack.queue.redis
        assert (await redis_findings(stack))["writes"].ok is True
        await redis.config_set("maxmemory", "1")
        assert (await redis_findings(stack))["writes"].ok is False
        refused = (await checks(stack))["redis"]
        assert (refused["ok"], "refuses" in refused["detail"]) == (False, True)
        await redis.config_set("maxmemory", "0")
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        wrong = (await checks(stack))["redis"]
        assert (wrong["ok"], "allkeys-lru" in wrong["detail"]) == (True, True)


async def test_tasks_that_wait_are_told_with_their_time(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        assert (await redis_findings(stack, later_clock))["longest wait"].value == "none"
        task_id = await stack.publish()
        await stack.queue.redis.zadd("arq:queue", {task_id: system_clock() - LATER_MS})
        found = await redis_findings(stack, later_clock)
        assert found["longest wait"].value.startswith(("60 s", "61 s"))
        assert found["relay lag"].ok


async def test_tasks_redis_lost_are_counted_until_a_worker_brings_them(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        await stack.publish()
        await stack.flush_redis()
        found = await redis_findings(stack, later_clock)
        assert found["relay lag"].ok is False
        assert found["relay lag"].value.startswith("1 of")
        await stack.start_worker()
        await stack.drain()
        assert (await redis_findings(stack, later_clock))["relay lag"].ok


async def test_a_worker_with_another_database_is_named(tmp_path: Path) -> None:
    async with everpost_stack(folder=tmp_path) as stack:
        await eventually(lambda: is_led(stack), what="a leader")
        assert "database" not in await redis_findings(stack)
        own = stack.settings
        stack.settings = msgspec.structs.replace(own, database=str(tmp_path / "other.db"))
        await stack.start_worker()
        stack.settings = own

        async def is_named() -> bool:
            check = (await checks(stack))["worker"]
            return not check["ok"] and "Another database" in check["detail"]

        await eventually(is_named, what="the other database")
        assert (await redis_findings(stack))["database"].ok is False
        await eventually(lambda: is_led(stack, "2 lead it"), what="two leaders")


async def is_led(stack: Stack, words: str = "led by") -> bool:
    upkeep = (await redis_findings(stack)).get("upkeep")  # none before the first worker's report
    return upkeep is not None and words in upkeep.value


async def test_a_worker_that_can_claim_nothing_is_alive_and_does_not_consume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with everpost_stack(folder=tmp_path, workers=0) as stack:
        shorten(monkeypatch, stalled=0.7)
        await stack.start_worker()
        await consuming(stack)
        monkeypatch.setattr("everpost_workers.attempts.admission.Admission.admit", fail)
        await stack.publish()

        async def has_stopped() -> bool:
            detail: str = (await checks(stack))["worker"]["detail"]
            return detail == "1 alive, 0 consuming."

        await eventually(has_stopped, what="a worker that does not consume")
        assert (await redis_findings(stack))["consuming"].ok is False


def test_a_worker_that_stands_still_is_not_alive(tmp_path: Path) -> None:
    with serving(tmp_path) as up:

        def is_ready() -> bool:
            return httpx.get(f"{up.url}/health/ready").status_code == httpx.codes.OK

        until(is_ready, "readiness")
        worker = up.children()["workers"]
        os.kill(worker, signal.SIGSTOP)
        try:
            until(lambda: not is_ready(), "the end of readiness")
            done = up.everpost("doctor")
            assert done.returncode == 1
            assert "Nothing runs until one is started" in done.stdout
        finally:
            os.kill(worker, signal.SIGCONT)
        until(is_ready, "readiness again")
