"""What of all that is raised must go on up, and cancellations that redis-py loses.

redis-py looks for stale data on a connection under `asyncio.timeout(0)`. A task that is cancelled just before that is
told of a timeout instead, and goes on; only its `cancelling()` count still tells.
"""

import asyncio
from typing import Any

END_OF_THE_PROCESS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""Exceptions that are not about what was being done; what else is no Exception is (Rust's panics, for one)."""

NO_FAILURE = (asyncio.CancelledError, *END_OF_THE_PROCESS)
"""Exceptions that do not say how a publisher's call failed; all others do."""

AGAIN_S = 0.5  # each cancellation cuts a clean-up short, so not too often


def raise_if_cancelled() -> None:
    """Be cancelled now if a cancellation was lost on the way; for loops that call Redis.

    Raises:
        CancelledError: Somebody cancelled the current task.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def raise_unless_failure(error: BaseException) -> None:
    """Raise `error` again if it is not a failure of the hook that raised it, so that all else is treated as one.

    A hook may raise CancelledError because what it waited for was cancelled; a task that nobody cancelled goes on.

    Raises:
        BaseException: `error` itself.
    """
    if isinstance(error, END_OF_THE_PROCESS):
        raise error
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


async def cancel_until_done(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, again and again if need be, and wait until they have ended; how they ended is not told.

    Raises:
        CancelledError: The current task was cancelled meanwhile; all the same, they have ended.
    """
    own: asyncio.CancelledError | None = None
    loop = asyncio.get_running_loop()
    again_at = loop.time()
    while pending := [task for task in tasks if not task.done()]:
        if loop.time() >= again_at:
            again_at = loop.time() + AGAIN_S
            for task in pending:
                task.cancel()
        try:
            await asyncio.wait(pending, timeout=max(0.0, again_at - loop.time()))
        except asyncio.CancelledError as error:
            own = error
    if own is not None:
        raise own
