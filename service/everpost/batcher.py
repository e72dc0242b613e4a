"""Batching without timers: what concurrent callers ask for while a flush is running is flushed next, as one unit."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Turns many concurrent `submit` calls into few `flush` calls.

    An idle batcher flushes a single item at once, so batching adds no latency; a busy one flushes all that came in
    while the last flush ran. One flush runs at a time, in order of submission.

    Args:
        flush: Takes the items, returns one answer or exception for each, in order. What it raises reaches every caller.
        max_items: The most items of one flush; the rest wait for the next.
    """

    def __init__(
        self, flush: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | BaseException]]], *, max_items: int = 512
    ) -> None:
        self._flush = flush
        self._max_items = max_items
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._runner: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop

    async def submit(self, item: Item) -> Answer:
        """Have `item` flushed and return its own answer, or raise its own error.

        Cancelling the caller does not take the item out of a flush that has begun.
        """
        return await self.put(item)

    def put(self, item: Item) -> "asyncio.Future[Answer]":
        """Have `item` flushed; nobody needs to wait for its answer."""
        if self._runner is None:  # asking for the loop each time is a system call each time, on Python 3.11
            self._loop = asyncio.get_running_loop()
            self._runner = self._loop.create_task(self._run())
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.append((item, future))
        return future

    async def drain(self) -> None:
        """Wait until nothing submitted so far is left."""
        while self._runner is not None:
            await asyncio.wait((self._runner,))

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._max_items], self._waiting[self._max_items :]
                await self._flush_batch(batch)
        finally:
            self._runner = None

    async def _flush_batch(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        # A caller that gave up before its item was flushed is not waited on: its item is left out.
        batch = [(item, future) for item, future in batch if not future.done()]
        if not batch:
            return
        try:
            answers = await self._flush([item for item, _ in batch])
        except BaseException as error:  # noqa: BLE001 - each caller raises it in its own place
            answers = [error] * len(batch)
        give_answers(batch, answers)


def give_answers(batch: Sequence[tuple[Any, asyncio.Future[Any]]], answers: Sequence[Any]) -> None:
    """Hand each caller that still waits its own answer, or its own error."""
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
