"""Cancellations: telling those from outside from a job's own, and delivering those that redis-py loses.

redis-py looks for stale data on a connection under `asyncio.timeout(0)`. A task that is cancelled just before that gets
a TimeoutError instead and goes on. Only its `cancelling()` count still shows the cancellation.
"""

import asyncio
from typing import Any

INNERMOST = 4  # how many lines of a waiting task's stack are shown
AGAIN_S = 0.5  # seconds between two cancellations: each one interrupts the job's clean-up


def raise_if_cancelled() -> None:
    """Raise the cancellation of the current task if redis-py has lost it; for loops that call Redis.

    Raises:
        CancelledError: The current task was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def comes_from_outside(error: BaseException, task: "asyncio.Task[Any] | None") -> bool:
    """Whether `error` was thrown into `task`, instead of raised by the code that it called.

    A cancellation is from outside if the task was cancelled, and a GeneratorExit if the coroutine was abandoned and is
    being closed. Otherwise both are failures of the code. SystemExit and KeyboardInterrupt always are: the loop handles
    the process's signals, which raise nothing.
    """
    if isinstance(error, GeneratorExit):
        return task is None or running_task() is not task
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def running_task() -> "asyncio.Task[Any] | None":
    """The current task; None if no loop runs."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def raise_unless_failure(error: BaseException) -> None:
    """Raise `error` again unless it is a failure of the hook that raised it.

    A hook may raise CancelledError because something it waited for was cancelled. That is a failure if its own task was
    not cancelled. KeyboardInterrupt is raised again, so that Ctrl-C ends a process that does not handle signals.

    Raises:
        BaseException: `error` itself.
    """
    task = running_task()
    if isinstance(error, KeyboardInterrupt) or comes_from_outside(error, task):
        raise error


async def cancel_until_done(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, repeatedly if they go on, and wait until they have ended. Their results and errors are dropped.

    Raises:
        CancelledError: The current task was cancelled meanwhile. The tasks have ended all the same.
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
