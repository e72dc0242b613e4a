"""Checks whether tasks are accepted and run: the database, Redis, the workers and the dispatch."""

import asyncio
from collections.abc import Awaitable

import msgspec

from everpost.clock import Clock
from everpost.errors import ServiceError, Unavailable
from everpost.findings import NEAR_MS, ahead_text
from everpost.queue.task_queue import TaskQueue
from everpost.queue.workers import with_other_database
from everpost.store import Store
from everpost.store.disk_room import DiskRoom
from everpost.store.meta import CHECKED_AT, IDENTITY
from everpost.store.pause import find_pause

CHECK_TIMEOUT_S = 3
THE_DATABASES = "the database's"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check."""

    name: str
    ok: bool
    detail: str


async def check_readiness(store: Store, queue: TaskQueue, room: DiskRoom, now_ms: int) -> list[Check]:
    """Make all checks at the same time, each within `CHECK_TIMEOUT_S` seconds."""
    checks = await asyncio.gather(
        _check("database", _check_store(store, room, now_ms)),
        _check("redis", _check_redis(queue, store.meta.now_ms)),
        _check("worker", _check_workers(queue, store)),
        _check("dispatch", _check_dispatch(store)),
    )
    return list(checks)


async def _check(name: str, finding: Awaitable[str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=await asyncio.wait_for(finding, CHECK_TIMEOUT_S))
    except ServiceError as error:
        return Check(name=name, ok=False, detail=error.message)
    except TimeoutError:
        return Check(name=name, ok=False, detail=f"No answer within {CHECK_TIMEOUT_S} s.")


async def _check_store(store: Store, room: DiskRoom, now_ms: int) -> str:
    await store.meta.set(CHECKED_AT, str(now_ms))
    room.check()
    state = store.care.state()
    if state.trouble is not None:  # of other writes: a small one may fit on a full disk
        raise state.trouble
    told = "It can be written."
    if state.has_long_log:
        told += f" A long-running reader has let its write-ahead log grow to {state.log_bytes >> 20:,} MiB."
    if abs(state.host_ahead_ms) >= NEAR_MS:
        told += f" This host's clock is {ahead_text(state.host_ahead_ms, THE_DATABASES)}."
    return told


async def _check_redis(queue: TaskQueue, clock: Clock) -> str:
    await queue.server.check_writable()
    facts = await queue.server.facts()
    policy = facts["maxmemory_policy"]
    warning = "" if policy == "noeviction" else f" Its maxmemory-policy {policy} drops waiting tasks."
    ahead_ms = await queue.server.now_ms() - clock()
    if abs(ahead_ms) >= NEAR_MS:
        warning += f" Its clock is {ahead_text(ahead_ms, THE_DATABASES)}."
    memory = await queue.server.memory()
    filling = f" {memory.share:.0%} of its maxmemory is used." if memory.is_filling else ""
    return f"{facts['server']} answers.{warning}{filling}"


async def _check_workers(queue: TaskQueue, store: Store) -> str:
    workers = await queue.workers.living()
    consuming = sum(bool(worker.get("consuming")) for worker in workers)
    troubles = [f" {worker['worker']}: {worker['trouble']}" for worker in workers if worker.get("trouble")]
    told = f"{len(workers)} alive, {consuming} consuming.{''.join(troubles)}"
    if not consuming:
        raise Unavailable(told if workers else "No worker has reported that it is alive.")
    if strangers := with_other_database(workers, await store.meta.get(IDENTITY)):
        raise Unavailable(f"{told} Another database than this API's have: {', '.join(strangers)}.")
    defects = [str(worker["relay_trouble"]) for worker in workers if worker.get("relay_trouble")]
    if len(defects) == len(workers):
        raise Unavailable(f"{told} None restores jobs that Redis loses: {defects[0]}.")
    leaders = [str(worker["worker"]) for worker in workers if worker.get("leads")]
    return f"{told} {leaders[0]} leads the upkeep." if leaders else f"{told} None leads the upkeep yet."


async def _check_dispatch(store: Store) -> str:
    pause = await find_pause(store.meta)
    if pause is None:
        return "It is not paused."
    raise Unavailable(
        f"Paused since {pause.restored_at}, when the backup {pause.backup} was restored: tasks are accepted, "
        f"none is sent until `everpost resume`; {await store.held.count()} are held."
    )
