"""Clients that post tasks steadily, one after the other, and remember every answer."""

import asyncio
import contextlib
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httpx

from everpost.testing import eventually

PUBLISH = "/api/v1/publish"
HANG_S = 10.0
SLOWEST_S = 5.0
SLOW_S = 1.0
LOOK_EVERY_S = 0.25


class Load:
    """Some clients in one event loop.

    Each post has a unique `marker`, by which it is found again. Half of the clients send an Idempotency-Key, and repeat
    a broken request until it is answered; the others give it up.

    Args:
        addresses: The APIs that serve at present.
        most: Posts after which the clients stop.
        rate: The most posts a second in all. If workers cannot keep up, the least urgent would wait for ever.
        slowest_s: A later answer is unexpected; none at all is waited for twice as long.
        delayed_s: How long a busy machine has made the APIs wait for a processor until now; that is not their answers'
            time.
        is_excused: Whether the test itself has kept this address from answering, at some time since then (monotonic).

    Attributes:
        posted: The body of every post, by marker.
        acked: The marker of every task that was answered with 202, by task id.
        answers: The number of answers by status; `error` for none.
        unexpected: Answers that no client should get.
    """

    def __init__(
        self,
        addresses: Callable[[], Sequence[str]],
        *,
        seed: int,
        clients: int,
        most: int,
        rate: float,
        slowest_s: float = SLOWEST_S,
        delayed_s: Callable[[], float] = lambda: 0.0,
        is_excused: Callable[[str, float], bool] = lambda _address, _since_s: False,
    ) -> None:
        self._addresses = addresses
        self._slowest_s, self._hang_s = slowest_s, 2 * slowest_s
        self._delayed_s = delayed_s
        self._is_excused = is_excused
        self._seed = seed
        self._clients = clients
        self._most = most
        self._pause_s = clients / rate
        self._rush = asyncio.Event()
        self._is_stopping = False
        self._running: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None
        self._delays: deque[tuple[float, float]] = deque(maxlen=100)
        self.posted: dict[str, dict[str, Any]] = {}
        self.acked: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.slowest_s = 0.0
        self._waits_s: list[float] | None = None

    @contextmanager
    def eased(self) -> Iterator[None]:
        """Make the clients post a tenth as often for a while."""
        usual_s, self._pause_s = self._pause_s, self._pause_s * 10
        try:
            yield
        finally:
            self._pause_s = usual_s

    def start(self) -> None:
        """Start the clients."""
        self._running = [asyncio.create_task(self._client(number)) for number in range(self._clients)]
        self._watching = asyncio.create_task(self._watch_delays())

    async def stop(self) -> None:
        """Wait for every client's last answer, and stop."""
        self._is_stopping = True
        await asyncio.gather(*self._running)
        if self._watching is not None:
            self._watching.cancel()

    @contextmanager
    def timed(self) -> Iterator[list[float]]:
        """Record for a while how long each post waited for its 202, in seconds."""
        self._waits_s = []
        try:
            yield self._waits_s
        finally:
            self._waits_s = None

    @contextmanager
    def rushing(self) -> Iterator[None]:
        """Make every client post again as soon as it is answered, for a while."""
        self._rush.set()
        try:
            yield
        finally:
            self._rush.clear()

    async def more(self, count: int) -> None:
        """Wait until this many more posts were answered with 202."""
        wanted = min(len(self.acked) + count, self._most)

        async def is_answered() -> bool:
            return len(self.acked) >= wanted or all(client.done() for client in self._running)

        await eventually(is_answered, what=f"{count} more answers")

    async def refused(self, count: int) -> None:
        """Wait until this many more posts were answered with 503."""
        wanted = self.answers["503"] + count

        async def is_refused() -> bool:
            return self.answers["503"] >= wanted

        await eventually(is_refused, what=f"{count} more refusals")

    async def _client(self, number: int) -> None:
        chance = random.Random(f"{self._seed}-{number}")
        async with httpx.AsyncClient(timeout=self._hang_s) as client:
            while not self._is_stopping and len(self.posted) < self._most:
                next_at = time.monotonic() + self._pause_s
                await self.post(client, chance, is_keyed=number % 2 == 0)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(asyncio.get_running_loop().time() + next_at - time.monotonic()):
                        await self._rush.wait()

    async def post(
        self, client: httpx.AsyncClient, chance: random.Random, *, is_keyed: bool = False, **fields: Any
    ) -> str | None:
        """Post one task with its own `fields`; return its id, or None if the request was given up."""
        marker = f"{self._seed}-{len(self.posted)}"
        self.posted[marker] = body = {**body_of(marker, chance), **fields}
        headers = {"idempotency-key": marker} if is_keyed else {}
        while True:
            address = chance.choice(await eventually(self._some_address, what="a serving API"))
            began = time.monotonic()
            try:
                answer = await client.post(address + PUBLISH, json=body, headers=headers)
            except httpx.TransportError as error:
                if isinstance(error, httpx.TimeoutException) and not self._is_excused(address, began):
                    self.unexpected.append(f"no answer in {self._hang_s:g} s: {error!r}")
                    return None
                self.answers["error"] += 1
                await eventually(self._accepts, what="an API that accepts connections")
            else:
                self._note(marker, answer, 0.0 if self._is_excused(address, began) else self._took_s(began))
                if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                    return str(answer.json()["task_id"]) if answer.status_code == HTTPStatus.ACCEPTED else None
            if not is_keyed or self._is_stopping:
                return None

    def _took_s(self, began_s: float) -> float:
        """How long an answer took, without the delays of a busy machine if it took long."""
        took_s = time.monotonic() - began_s
        if took_s < SLOW_S:
            return took_s
        before = [delayed_s for at_s, delayed_s in self._delays if at_s <= began_s]
        return took_s - min(took_s, max(0.0, self._delayed_s() - before[-1])) if before else took_s

    async def _watch_delays(self) -> None:
        """Note the delays from time to time: looking at each post would take longer than the post."""
        while True:
            self._delays.append((time.monotonic(), self._delayed_s()))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _accepts(self) -> bool:
        for address in self._addresses():
            url = httpx.URL(address)
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(url.host, url.port)
                writer.close()
                return True
        return False

    async def _some_address(self) -> Sequence[str]:
        return self._addresses()

    def _note(self, marker: str, answer: httpx.Response, took_s: float) -> None:
        self.answers[str(answer.status_code)] += 1
        self.slowest_s = max(self.slowest_s, took_s)
        if took_s > self._slowest_s:
            self.unexpected.append(f"{answer.status_code} after {took_s:.1f} s")
        if answer.status_code == HTTPStatus.ACCEPTED:
            if self._waits_s is not None:
                self._waits_s.append(took_s)
            task_id = answer.json()["task_id"]
            if self.acked.setdefault(task_id, marker) != marker:
                self.unexpected.append(f"{task_id} was given to two requests")
        elif answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE or "retry-after" not in answer.headers:
            self.unexpected.append(f"{answer.status_code} {answer.text[:200]}")


def body_of(marker: str, chance: random.Random) -> dict[str, Any]:
    """A post with unknown fields, and a priority."""
    return {
        "platform": chance.randint(1, 5),
        "account_id": f"account-{chance.randint(1, 9)}",
        "title": f"混沌 {marker}",
        "marker": marker,
        "priority": chance.randint(0, 9),
        "extra": {"nested": [None, chance.random(), "é\u2028"], "empty": {}},
    }
