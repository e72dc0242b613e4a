"""Cancels work whose client has hung up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from everpost.api.http.bodies import ClientGone
from everpost.api.services import ApiRequest

Result = TypeVar("Result")


async def while_client_waits(request: ApiRequest, work: Coroutine[Any, Any, Result]) -> Result:
    """Do `work` for a request whose body has been read; cancel it if the client hangs up.

    Raises:
        ClientGone: The client hung up, so it will not see the answer.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_wait_for_end(request))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        working.cancel()
        watching.cancel()


async def _wait_for_end(request: ApiRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
