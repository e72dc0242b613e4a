"""Connections of their own to Redis: emptied, started anew or frozen, the next call gets the next call's answer."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

from everpost.embedded import EmbeddedValkey
from everpost.errors import QueueUnreachable
from everpost.queue.codec import deserialize, job_of, serialize
from everpost.queue.pool import connection_pool
from everpost.queue.redis_server import ScriptConnection
from everpost.queue.task_queue import TaskQueue
from everpost.testing import eventually
from store_rows import make_task

ECHO = "return {KEYS[1], ARGV[1], ARGV[2]}"


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    server = await EmbeddedValkey(tmp_path).start()
    yield server
    await server.stop()


@pytest.fixture
async def echo(valkey: EmbeddedValkey) -> AsyncIterator[ScriptConnection]:
    connection = ScriptConnection(connection_pool(valkey.address), ECHO)
    yield connection
    await connection.close()


async def test_a_script_the_server_does_not_know_is_sent_to_it(echo: ScriptConnection) -> None:
    assert await echo.run(["key"], ["文", b"\x00\xff"]) == [b"key", "文".encode(), b"\x00\xff"]
    assert await echo.run(["key"], [1, ""]) == [b"key", b"1", b""]


async def test_a_server_that_started_anew_since_the_last_call_is_found(
    echo: ScriptConnection, valkey: EmbeddedValkey
) -> None:
    await echo.run(["key"], [1, 1])
    assert valkey.child is not None
    await valkey.child.stop()
    with pytest.raises(RedisError):
        await echo.run(["key"], [2, 2])
    await valkey.start()
    assert await echo.run(["key"], [3, 3]) == [b"key", b"3", b"3"]
    await valkey.child.stop()
    await valkey.start()
    assert await echo.run(["key"], [4, 4]) == [b"key", b"4", b"4"]


@pytest.mark.parametrize("steps", range(4))
async def test_a_command_whose_connection_another_task_closes_is_a_lost_connection(
    valkey: EmbeddedValkey, steps: int
) -> None:
    """As when a Sentinel names another master: all connections are closed, also those in use."""
    pool = connection_pool(valkey.address)
    connection = await pool.get_connection()
    sending = asyncio.create_task(connection.send_command("PING"))
    for _ in range(steps):
        await asyncio.sleep(0)
    await connection.disconnect(nowait=True)
    with suppress(ConnectionLost):
        await sending
    await pool.disconnect()


async def test_a_late_answer_of_a_frozen_server_never_answers_another_call(
    echo: ScriptConnection, valkey: EmbeddedValkey
) -> None:
    await echo.run(["key"], [1, 1])
    assert valkey.child is not None
    os.kill(valkey.child.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(echo.run(["key"], ["late", "late"]), 0.2)
    finally:
        os.kill(valkey.child.pid, signal.SIGCONT)
    assert await echo.run(["key"], [2, 2]) == [b"key", b"2", b"2"]


async def test_calls_at_once_take_turns_and_each_gets_its_own_answer(echo: ScriptConnection) -> None:
    answers = await asyncio.gather(*(echo.run(["key"], [number, ""]) for number in range(50)))
    assert answers == [[b"key", b"%d" % number, b""] for number in range(50)]


async def test_a_write_that_uvloop_refuses_is_a_lost_connection(
    echo: ScriptConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await echo.run(["key"], [1, 1]) == [b"key", b"1", b"1"]

    def refuse(*_: Any) -> None:
        raise RuntimeError("unable to perform operation on <UnixTransport closed=True>; the handler is closed")

    with monkeypatch.context() as once:
        once.setattr("asyncio.StreamWriter.writelines", refuse)
        with pytest.raises(RedisError):
            await echo.run(["key"], [2, 2])
    assert await echo.run(["key"], [3, 3]) == [b"key", b"3", b"3"]


async def test_tasks_looked_for_at_once_are_found_each_in_its_own_state(valkey: EmbeddedValkey) -> None:
    queue = TaskQueue.connect(valkey.address)
    waiting, ended, both, unreadable = (make_task(name) for name in ("waiting", "ended", "both", "unreadable"))
    await queue.enqueuer.restore_tasks([waiting, both, unreadable])
    for task, success in ((ended, False), (both, True)):
        result = {**deserialize(job_of(task, 1)), "s": success, "r": None}
        await queue.redis.set(f"arq:result:{task.task_id}", serialize(result))
    await queue.redis.set("arq:result:unreadable", b"\x80\x04 a pickle")
    tasks = ("waiting", "ended", "both", "unreadable", "nobody")
    found = await asyncio.gather(*(queue.jobs.find_task(task_id) for task_id in tasks))
    assert [job and job.success for job in found] == [None, False, True, None, None]
    assert [job and job.task_data for job in found] == [waiting.task_data] * 4 + [None]
    assert await queue.jobs.find_tasks(tasks) == {name: job for name, job in zip(tasks, found, strict=True) if job}
    await queue.close()


async def test_a_redis_that_is_down_is_asked_once_for_all_callers(valkey: EmbeddedValkey) -> None:
    queue = TaskQueue.connect(valkey.address)
    assert await queue.jobs.find_task("nobody") is None
    assert valkey.child is not None
    await valkey.child.stop()
    answers = await asyncio.gather(*(queue.jobs.find_task("nobody") for _ in range(1_000)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {QueueUnreachable}
    await valkey.start()

    async def is_found_again() -> bool:
        try:
            return await queue.jobs.find_task("nobody") is None
        except QueueUnreachable:
            return False

    assert await eventually(is_found_again, what="an answer from Redis")
    await queue.close()


async def test_commands_of_a_user_who_may_not_wake_workers_still_count(valkey: EmbeddedValkey) -> None:
    admin = TaskQueue.connect(valkey.address)
    await admin.redis.acl_setuser("api", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"])
    queue = TaskQueue.connect(f"{valkey.address}?username=api&password=secret")
    try:
        assert await queue.enqueuer.restore_tasks([make_task("a" * 32)]) == [True]
        await queue.jobs.abort_task("a" * 32)
        assert await admin.redis.zcard("arq:abort") == 1
    finally:
        await queue.close()
        await admin.close()
