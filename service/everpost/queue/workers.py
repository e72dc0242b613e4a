"""The workers, according to their own reports in Redis."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import structlog

from everpost.queue.keys import LONGEST_NAME, WORKERS_KEY
from everpost.queue.redis_server import RedisServer

log = structlog.get_logger("everpost.queue")

LONGEST_SAID = 4_096  # bytes of a worker's report
MOST_WORKERS = 1_000
MOST_SLOTS = 1_000_000
MOST_AHEAD_MS = 3_600_000  # of Redis's time; a report that holds for longer is another program's


class Said(msgspec.Struct, frozen=True):
    """What every worker reports about itself, at least; see `workers/everpost_workers/publish_worker.py`.

    Attributes:
        doing: Some of the tasks it runs, by id, those that have run for longest.
    """

    worker: str
    until_ms: int
    slots: int = 0
    running: int = 0
    paused: bool = False
    consuming: bool = False
    database_id: str = ""
    leads: bool = False
    clock_ahead_ms: int = 0
    trouble: str | None = None
    relay_trouble: str | None = None
    version: str = ""
    python: str = ""
    started_at: str = ""
    doing: tuple[str, ...] = ()


class Workers:
    """The living workers, and those that stopped. Every method may raise `QueueUnreachable`."""

    def __init__(self, server: RedisServer) -> None:
        self._redis = server.redis
        self._ask = server.ask
        self._read = server.script("workers")
        self._announce = server.script("announce")

    async def living(self) -> list[dict[str, Any]]:
        """The last report of each living worker; see `workers/everpost_workers/upkeep/duties.py`."""
        now_ms, found, _ = await self._said()
        said = (read_said(value, now_ms) for value in found.values())
        return [facts for facts in said if facts is not None and facts["until_ms"] > now_ms]

    async def dead(self) -> list[bytes]:
        """The names of workers that fell silent without stopping in order, and of fields that other programs wrote."""
        now_ms, found, others = await self._said()
        said = {field: read_said(value, now_ms) for field, value in found.items()}
        strange = [*others, *(field for field, facts in said.items() if facts is None)]
        if strange:
            log.warning("workers.skipped", fields=len(strange))
        if len(others) >= MOST_WORKERS:
            await self._ask(self._redis.unlink(WORKERS_KEY))  # living workers report again within a second
        return [*strange, *(field for field, facts in said.items() if facts and facts["until_ms"] <= now_ms)]

    async def announce(self, worker_id: str, facts: Mapping[str, Any], life_s: float) -> None:
        """Report that a worker is alive, for `life_s` seconds."""
        report = msgspec.json.encode({"worker": worker_id, **facts}).decode().removesuffix("}")
        await self._ask(self._announce(keys=[WORKERS_KEY], args=[worker_id, report, round(life_s * 1000)]))

    async def forget(self, worker_ids: Sequence[str | bytes]) -> None:
        """Report that workers have stopped."""
        if worker_ids:
            await self._ask(self._redis.hdel(WORKERS_KEY, *cast("Sequence[str]", worker_ids)))

    async def count_strange(self) -> int:
        """The number of fields that no worker wrote; this changes nothing."""
        now_ms, found, others = await self._said()
        return len(others) + sum(read_said(value, now_ms) is None for value in found.values())

    async def _said(self) -> tuple[int, dict[bytes, bytes], list[bytes]]:
        """Redis's time in ms, the fields that workers may have written, and the names of all others."""
        limits = [LONGEST_SAID, LONGEST_NAME, MOST_WORKERS]
        answer: list[Any] = await self._ask(self._read(keys=[WORKERS_KEY], args=limits))
        now_ms, found, others = answer
        return now_ms, dict(zip(found[::2], found[1::2], strict=True)), others


def with_other_database(workers: Sequence[Mapping[str, Any]], database_id: str | None) -> list[str]:
    """The names of the workers that use another database. They would run this one's tasks and not record them here.

    A database has an identity once a worker could write one into it. Nothing is said of those that have none yet.
    """
    if not database_id:
        return []
    return [str(worker["worker"]) for worker in workers if (worker.get("database_id") or database_id) != database_id]


def read_said(value: bytes, now_ms: int) -> dict[str, Any] | None:
    """A worker's report; None if no worker can have written it."""
    try:
        said = msgspec.json.decode(value, type=Said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    counts = (said.slots, said.running)
    is_possible = said.until_ms <= now_ms + MOST_AHEAD_MS and all(0 <= count <= MOST_SLOTS for count in counts)
    return msgspec.json.decode(value) if is_possible else None
