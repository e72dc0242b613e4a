"""Batching without timers: items that arrive while a flush runs are flushed together as the next batch.

SQLite's commits are grouped by `everpost.store.sqlite.file.commits` instead: its thread takes the next writes by
itself. If it had to ask the event loop for them, the file would be idle for a third of the time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Turns many concurrent `submit` calls into few `flush` calls.

    An idle batcher flushes a single item at once, so batching adds no latency. A busy one flushes all items that
    arrived during the last flush. One flush runs at a time, in the order of submission.

    Args:
        flush: Takes the items and returns one answer or exception for each, in order. If it raises, every caller of
            the batch gets that exception.
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
        """Have `item` flushed, and return its answer or raise its error.

        Cancelling the caller does not stop a flush that has begun.
        """
        return await self.put(item)

    def put(self, item: Item) -> "asyncio.Future[Answer]":
        """Have `item` flushed; the caller may ignore the returned future."""
        if self._runner is None:  # get_running_loop() costs a system call on Python 3.11, so it is called rarely
            self._loop = asyncio.get_running_loop()
            self._runner = self._loop.create_task(self._run())
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.append((item, future))
        return future

    async def drain(self) -> None:
        """Wait until all submitted items have been flushed."""
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
        # If a caller gave up before the flush, its item is left out.
        batch = [(item, future) for item, future in batch if not future.done()]
        if not batch:
            return
        try:
            answers = await self._flush([item for item, _ in batch])
        except BaseException as error:  # noqa: BLE001 - each caller raises it in its own place
            answers = [error] * len(batch)
        give_answers(batch, answers)


def give_answers(batch: Sequence[tuple[Any, asyncio.Future[Any]]], answers: Sequence[Any]) -> None:
    """Give each caller that still waits its answer or its error."""
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
