"""Liveness and readiness: is the process alive, and can Everpost do its work?"""

import msgspec
from litestar import get

from everpost.access import Right
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import PUBLIC, needs
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, services_of
from everpost.views.readiness import Check, check_readiness


class LiveAnswer(msgspec.Struct, frozen=True):
    """The process serves requests."""

    status: str


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
    opt=needs(Right.READ, scoped=True),
    **documented(ReadyAnswer, description="Tasks are accepted and run.", others={503: ReadyAnswer}),
)
async def show_readiness(request: ApiRequest) -> JsonAnswer:
    """Answer whether tasks are accepted and run."""
    services = services_of(request)
    room, now_ms = services.acceptance.room, services.clock()
    checks = await check_readiness(services.store, services.queue, room, now_ms)
    ready = all(check.ok for check in checks)
    return JsonAnswer(ReadyAnswer(ready=ready, checks=checks), 200 if ready else 503)
