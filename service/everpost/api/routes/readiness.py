"""Liveness and readiness: is the process alive, and can Everpost do its work?"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from litestar import get

from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.tokens import PUBLIC
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import ServiceError, Unavailable

CHECK_TIMEOUT_S = 3


class LiveAnswer(msgspec.Struct, frozen=True):
    """The process serves requests."""

    status: str


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that Everpost's work depends on."""

    name: str
    ok: bool
    detail: str


class ReadyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether tasks are accepted and run, check by check."""

    ready: bool
    checks: list[Check]


@get(
    "/health/live",
    summary="Liveness",
    description="Answers as long as the process serves requests. Needs no token.",
    tags=["Health"],
    opt={PUBLIC: True},
    **documented(LiveAnswer, description="It serves."),
)
async def show_liveness(request: ApiRequest) -> JsonAnswer:
    """Answer that the process is alive."""
    del request
    return JsonAnswer(LiveAnswer("live"))


@get(
    "/health/ready",
    summary="Readiness",
    description="Checks that the database and Redis can be written, that a worker takes tasks, and that "
    "dispatch is not paused.",
    tags=["Health"],
    **documented(ReadyAnswer, description="Tasks are accepted and run.", others={503: ReadyAnswer}),
)
async def show_readiness(request: ApiRequest) -> JsonAnswer:
    """Answer whether tasks are accepted and run."""
    services = services_of(request)
    found = await asyncio.gather(_database(services), _redis(services), _worker(services), _dispatch(services))
    checks = list(found)
    ready = all(check.ok for check in checks)
    return JsonAnswer(ReadyAnswer(ready=ready, checks=checks), 200 if ready else 503)


async def _database(services: Services) -> Check:
    async def write() -> str:
        await services.store.care.check_writable(services.clock())
        services.acceptance.room.check()
        state = services.store.care.state()
        if not state.has_long_log:
            return "It can be written."
        log_mb = state.log_bytes >> 20
        return f"It can be written. A reader that does not end has let its write-ahead log grow to {log_mb:,} MiB."

    return await _check("database", write)


async def _redis(services: Services) -> Check:
    async def ask() -> str:
        await services.queue.server.check_writable()
        facts = await services.queue.server.facts()
        policy = facts["maxmemory_policy"]
        warning = "" if policy == "noeviction" else f" Its maxmemory-policy {policy} drops waiting tasks."
        memory = await services.queue.server.memory()
        filling = f" {memory.share:.0%} of its maxmemory is used." if memory.is_filling else ""
        return f"{facts['server']} answers.{warning}{filling}"

    return await _check("redis", ask)


async def _worker(services: Services) -> Check:
    async def count() -> str:
        workers = await services.queue.workers.living()
        consuming = sum(bool(worker.get("consuming")) for worker in workers)
        told = f"{len(workers)} alive, {consuming} consuming."
        if not consuming:
            raise Unavailable(told if workers else "No worker has said that it is alive.")
        troubles = [str(worker["relay_trouble"]) for worker in workers if worker.get("relay_trouble")]
        if len(troubles) == len(workers):
            raise Unavailable(f"{told} None brings back what Redis loses: {troubles[0]}.")
        return told

    return await _check("worker", count)


async def _dispatch(services: Services) -> Check:
    async def ask() -> str:
        pause = await services.store.pause.find()
        if pause is not None:
            raise Unavailable(
                f"Paused since {pause.restored_at}, when the backup {pause.backup} was restored: tasks are accepted, "
                f"none is sent until `everpost resume`; {await services.store.pause.count_held()} are held."
            )
        return "It goes on."

    return await _check("dispatch", ask)


async def _check(name: str, ask: Callable[[], Awaitable[str]]) -> Check:
    try:
        return Check(name=name, ok=True, detail=await asyncio.wait_for(ask(), CHECK_TIMEOUT_S))
    except ServiceError as error:
        return Check(name=name, ok=False, detail=error.message)
    except TimeoutError:
        return Check(name=name, ok=False, detail=f"No answer within {CHECK_TIMEOUT_S} s.")
