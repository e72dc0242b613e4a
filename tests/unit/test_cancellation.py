import asyncio

import pytest

from everpost_workers.engine import cancel_until_done


class Stubborn:
    """A task that ignores its first cancellations, and then takes a while to end."""

    def __init__(self, ignored: int) -> None:
        self.ignored = ignored
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def run(self) -> None:
        while self.ignored >= 0:
            self.started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.ignored -= 1
                self.cancelled.set()
        await self.may_end.wait()


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    stubborn = Stubborn(ignored=1)
    stubborn.may_end.set()
    task = asyncio.create_task(stubborn.run())
    await stubborn.started.wait()
    await cancel_until_done(task)
    assert task.done()


async def test_a_caller_cancelled_while_waiting_still_waits_for_the_end() -> None:
    stubborn = Stubborn(ignored=0)
    task = asyncio.create_task(stubborn.run())
    await stubborn.started.wait()
    waiting = asyncio.create_task(cancel_until_done(task))
    await stubborn.cancelled.wait()
    waiting.cancel()
    await asyncio.wait((waiting,), timeout=0.01)
    assert not waiting.done()
    stubborn.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert task.done()
