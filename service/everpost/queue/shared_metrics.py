"""Adds up the counts of all processes, in one hash in Redis."""

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from everpost.errors import QueueUnreachable
from everpost.metrics import Field, Tally, read_numbers, written_field
from everpost.queue.keys import METRICS_KEY
from everpost.queue.redis_server import RedisServer

log = structlog.get_logger("everpost.metrics")

EVERY_S = 1.0
MOST_NUMBERS = 10_000  # no catalogue makes more fields; another program wrote them
NO_NUMBER = ("WRONGTYPE", "not an integer", "overflow")  # Redis's errors for a value that cannot be added to


class SharedMetrics:
    """Sends a process's tally to Redis regularly. Counts that Redis does not accept stay in the tally.

    Attributes:
        tally: The counts of this process.
    """

    def __init__(self, server: RedisServer) -> None:
        self.tally = Tally()
        self._redis = server.redis
        self._ask = server.ask
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start, in the running event loop."""
        self._loop = asyncio.create_task(self._send_often(), name="metrics")

    async def close(self) -> None:
        """Stop, and send the rest if Redis accepts it."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        await self.send()

    async def send(self) -> None:
        """Send the counts since the last call. Numbers that other programs overwrote are written anew.

        If the answer is lost, they may be counted twice; the tasks themselves are counted in the store.
        """
        numbers = self.tally.take()
        if not numbers:
            return
        try:
            spoilt: dict[Field, int] = await self._ask(self._add(numbers))
            if spoilt:
                new: int = await self._ask(self._overwrite(spoilt))
                log.warning("metrics.overwritten", fields=len(spoilt), new=new)
        except QueueUnreachable:
            self.tally.give_back(numbers)
        except BaseException:
            self.tally.give_back(numbers)
            raise

    async def read(self) -> dict[Field, int]:
        """The numbers of all processes, with this one's latest; empty if Redis has absurdly many fields.

        Raises:
            QueueUnreachable: Redis does not answer.
        """
        await self.send()
        return read_numbers(await self._all_numbers())

    async def _all_numbers(self) -> Iterable[tuple[bytes, bytes]]:
        if await self._ask(self._redis.type(METRICS_KEY)) != b"hash":
            return ()
        count: int = await self._ask(self._redis.hlen(METRICS_KEY))
        written: dict[bytes, bytes] = await self._ask(self._redis.hgetall(METRICS_KEY)) if count <= MOST_NUMBERS else {}
        return written.items()

    async def _add(self, numbers: Mapping[Field, int]) -> dict[Field, int]:
        """Add to the numbers; return those that could not be added, because the stored value is not a number."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for field, amount in numbers.items():
                pipe.execute_command("HINCRBY", METRICS_KEY, written_field(field), amount)
            answers = await pipe.execute(raise_on_error=False)
        refused = {
            field: answer for field, answer in zip(numbers, answers, strict=True) if isinstance(answer, Exception)
        }
        for answer in refused.values():
            if not any(reason in str(answer) for reason in NO_NUMBER):
                raise answer
        return {field: numbers[field] for field in refused}

    async def _overwrite(self, numbers: Mapping[Field, int]) -> int:
        """Overwrite the numbers; return how many are new."""
        if await self._redis.type(METRICS_KEY) != b"hash":
            await self._redis.delete(METRICS_KEY)
        written = {written_field(field): amount for field, amount in numbers.items()}
        return int(await self._redis.hset(METRICS_KEY, mapping=written))  # type: ignore[misc]  # redis-py types one method for its two clients

    async def _send_often(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.send()
            except Exception:
                log.exception("metrics.send_failed")
