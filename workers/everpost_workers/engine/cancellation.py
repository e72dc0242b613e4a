"""What of all that is raised comes from outside and must go on up, and cancellations that redis-py loses.

redis-py looks for stale data on a connection under `asyncio.timeout(0)`. A task that is cancelled just before that is
told of a timeout instead, and goes on; only its `cancelling()` count still tells.
"""

import asyncio
from typing import Any

INNERMOST = 4  # lines shown of where a task waits
AGAIN_S = 0.5  # each cancellation cuts a clean-up short, so not too often


def raise_if_cancelled() -> None:
    """Be cancelled now if a cancellation was lost on the way; for loops that call Redis.

    Raises:
        CancelledError: Somebody cancelled the current task.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def comes_from_outside(error: BaseException, task: "asyncio.Task[Any] | None") -> bool:
    """Whether `error` was thrown into `task`, and not raised by the code that it called.

    A cancellation is from outside if somebody cancelled the task, and GeneratorExit if the abandoned coroutine is
    closed; a task never throws that by itself. Else they are failures of the code, as are SystemExit and
    KeyboardInterrupt: the process's own signals are handled by its loop, and raise nothing.
    """
    if isinstance(error, GeneratorExit):
        return task is None or running_task() is not task
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def running_task() -> "asyncio.Task[Any] | None":
    """The current task; None where no loop runs."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def raise_unless_failure(error: BaseException) -> None:
    """Raise `error` again if it is not a failure of the hook that raised it, so that all else is treated as one.

    A hook may raise CancelledError because what it waited for was cancelled; a task that nobody cancelled goes on.
    Ctrl-C ends a process that does not handle signals.

    Raises:
        BaseException: `error` itself.
    """
    task = running_task()
    if isinstance(error, KeyboardInterrupt) or comes_from_outside(error, task):
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


def whereabouts(task: asyncio.Task[Any]) -> str:
    """The lines of code at which a task waits, the innermost last."""
    waiting: Any = task.get_coro()
    lines = []
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is not None:
            lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    return " > ".join(lines[-INNERMOST:]) or "an unknown place"
