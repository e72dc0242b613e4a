"""Answers that several viewers of a page share: each question is asked once for all of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from everpost.api.services import ApiRequest

Shared = TypeVar("Shared")


class _Kept:
    """The last answer of one question, and when it was asked."""

    def __init__(self, asked_s: float, answer: asyncio.Task[Any]) -> None:
        self.asked_s = asked_s
        self.answer = answer


KEPT = "kept_for_pages"  # in the application's state


async def share(request: ApiRequest, name: str, for_s: float, ask: Callable[[], Awaitable[Shared]]) -> Shared:
    """The answer of `ask`, or the one of the last `for_s` seconds. Callers at the same time wait for the same one.

    Errors are not kept.
    """
    of_app: dict[str, _Kept] = request.scope["litestar_app"].state.setdefault(KEPT, {})
    now_s = asyncio.get_running_loop().time()
    kept = of_app.get(name)
    if kept is None or now_s - kept.asked_s > for_s or (kept.answer.done() and kept.answer.exception() is not None):
        kept = of_app[name] = _Kept(now_s, asyncio.ensure_future(ask()))
    return cast("Shared", await asyncio.shield(kept.answer))
