"""The right that each route needs, and the caller of a request."""

from typing import Any, cast

from litestar.handlers import BaseRouteHandler

from everpost.access import ANONYMOUS_ADMIN, Caller, Right
from everpost.api.services import ApiRequest
from everpost.errors import Forbidden

PUBLIC = "is_public"
"""The `opt` of a route that needs no right: all callers are served, known or not."""

NEEDS = "needs"
SCOPED = "is_scoped"
CALLER = "everpost_caller"  # in the state of a request's scope


def needs(right: Right, *, scoped: bool = False) -> dict[str, Any]:
    """The `opt` of a route that needs a right. Every route has it, or `PUBLIC`.

    Args:
        scoped: Callers with a scope are served too, because the route keeps to it, or has nothing that is outside of a
            scope. Otherwise they are served only if the path names a task or another thing that is inside of it.
    """
    return {NEEDS: right, SCOPED: scoped}


def right_of(handler: BaseRouteHandler) -> Right:
    """The right that a route needs. Litestar's own answers to OPTIONS, which have none, can be read."""
    return cast("Right", handler.opt.get(NEEDS, Right.READ))


def admit(request: ApiRequest, caller: Caller) -> None:
    """Remember the caller of a request that it may make.

    Raises:
        Forbidden: Its role does not have the right that the route needs.
    """
    remember(request, caller)
    right = right_of(request.route_handler)
    if right not in caller.rights:
        raise Forbidden(caller.name, caller.role, right)


def remember(request: ApiRequest, caller: Caller) -> None:
    """Let `caller_of` know who sends a request."""
    request.scope["state"][CALLER] = caller


def caller_of(request: ApiRequest) -> Caller:
    """Who sends a request; for a public route, or if no key is needed, `ANONYMOUS_ADMIN`."""
    caller: Caller = request.scope["state"].get(CALLER, ANONYMOUS_ADMIN)
    return caller
