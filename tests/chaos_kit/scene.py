"""One run: the processes, the load and the faults; then heal, drain, check and print one line of JSON."""

import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from redis.asyncio import Redis

import stores
from chaos_kit.checks import Facts, Verdict, count_effects, find_left_over, read_effects, verdict_of
from chaos_kit.effects_worker import answered_of, gate_of, hold_of
from chaos_kit.load import SLOWEST_S, Load
from chaos_kit.processes import Api, PythonProcess, Valkey, Worker
from chaos_kit.proxy import Proxy
from chaos_kit.sentinels import Fleet
from everpost.clock import system_clock, to_text
from everpost.database_address import is_postgresql, sqlite_path
from everpost.publishing import PublisherClass
from everpost.queue.pool import connection_pool
from everpost.task.place import Place
from everpost.testing import eventually
from fair_time import waited_for_processor_s
from store_kit import StoreKit, kit_of

DRAIN_S = 60.0
SHOWN = 10
LEASE_S = 2

Fault = Callable[["Scene"], Awaitable[None]]


class Scene:
    """Everything of one run.

    Args:
        has_crashing_publisher: The publisher may raise what is no publish error; the log has the traceback of it.
        without: A guard that all processes lack, see `without.py`.
        may_lack_data: See `Facts`.

    Attributes:
        apis: All APIs; those that serve are `addresses`.
        proxy: The proxy before Valkey, if there is one.
        chance: Decides which faults to inject; made from the seed.
        database: Its address: by default that of the fixture `both_stores`, or else a file in `folder`.
        fleet: The servers behind Sentinels, if they are used instead of `valkey`.
        faults: The number of times each was injected.
        struck_at: The times of faults.
        waits_s: How long each 202 took while Redis was in trouble.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        publisher_class: PublisherClass,
        apis: int = 1,
        workers: int = 2,
        slots: int = 32,
        delay_ms: int = 100,
        clients: int = 16,
        most: int = 1_000_000,
        rate: float = 80,
        slowest_s: float = SLOWEST_S,
        is_proxied: bool = False,
        database: str | None = None,
        fleet: Fleet | None = None,
        has_crashing_publisher: bool = False,
        without: str | None = None,
        may_lack_data: bool = False,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.publisher_class = publisher_class
        self._has_crashing_publisher = has_crashing_publisher
        self._may_lack_data = may_lack_data
        self.chance = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.struck_at: list[str] = []
        self.waits_s: list[float] = []
        self.database = database or stores.chosen or str(folder / "everpost.db")
        self.effects = folder / "effects.jsonl"
        self.valkey = Valkey(folder / "valkey", durable=True)
        self.fleet = fleet
        self.proxy = Proxy(self.valkey.socket)
        self._address = self.valkey.address if fleet is None else fleet.address
        chosen = {**self._settings(is_proxied=is_proxied), "EVERPOST_MAX_JOBS": str(slots), **settings}
        make_api = partial(Api, folder=folder, settings=chosen, without=without)
        make_worker = partial(Worker, folder=folder, settings=chosen, without=without)
        platform: dict[str, Any] = {"effects": self.effects, "publisher_class": publisher_class, "delay_ms": delay_ms}
        self.apis = [make_api(f"api{number}") for number in range(apis)]
        self.workers = [make_worker(f"worker{number}", **platform) for number in range(workers)]
        load: dict[str, Any] = {"seed": seed, "clients": clients, "most": most, "rate": rate, "slowest_s": slowest_s}
        self.load = Load(self.addresses, **load, delayed_s=self._delayed_s, is_excused=self.is_excused)
        self.redis: Redis = Redis(connection_pool=connection_pool(self._address))

    def _settings(self, *, is_proxied: bool) -> Mapping[str, str]:
        return {
            "EVERPOST_DATA": str(self.folder),
            "EVERPOST_REDIS": self.proxy.address if is_proxied else self._address,
            "EVERPOST_PORT": "0",
            "EVERPOST_LOG_FORMAT": "json",
            "EVERPOST_LEASE": str(LEASE_S),
            "EVERPOST_SHUTDOWN_WAIT": "1",
            "EVERPOST_DATABASE": self.database,
            "EVERPOST_MIN_FREE_DISK": "0",
        }

    @property
    def kit(self) -> StoreKit:
        """A look into the database."""
        return kit_of(self.database)

    def is_excused(self, address: str, since_s: float) -> bool:
        """Whether the scene itself has kept an API from answering, at some time since then (monotonic)."""
        return False

    @property
    def database_file(self) -> Path:
        """The file of the database, if it is SQLite's."""
        return sqlite_path(self.database)

    @property
    def log_of_database(self) -> Path:
        """The write-ahead log of the file."""
        return self.database_file.with_name(f"{self.database_file.name}-wal")

    @property
    def has_own_disk(self) -> bool:
        """Whether filling the database's disk affects nothing else."""
        return not is_postgresql(self.database) and self.database_file.parent.is_mount()

    def _delayed_s(self) -> float:
        """How long the APIs and these clients have waited for a processor."""
        pids = [api.child.pid for api in self.apis if api.child is not None]
        return sum(map(waited_for_processor_s, (os.getpid(), *pids)))

    def addresses(self) -> list[str]:
        """The addresses of the APIs that serve now."""
        return [api.address for api in self.apis if api.is_running and api.is_serving]

    async def start(self) -> None:
        """Start every process that is not running."""
        if self.fleet is not None:
            await self.fleet.start()
        elif self.valkey.child is None or self.valkey.child.exit_code is not None:
            await self.valkey.start()
        idle = [process for process in (*self.apis, *self.workers) if not process.is_running]
        await asyncio.gather(*(process.start() for process in idle))

    async def close(self) -> None:
        """End every process."""
        for process in (*self.apis, *self.workers):
            process.kill()
        await self.redis.aclose(close_connection_pool=True)
        await self.valkey.stop()
        if self.fleet is not None:
            await self.fleet.close()

    async def sent(self, count: int) -> None:
        """Wait until the platform has accepted this many more posts."""
        wanted = count_effects(self.effects) + count

        async def is_sent() -> bool:
            return count_effects(self.effects) >= wanted

        await eventually(is_sent, what=f"{count} more effects")

    async def answered(self, count: int) -> None:
        """Wait until the platform has answered this many more posts."""
        wanted = answered_of(self.effects).stat().st_size + count

        async def is_answered() -> bool:
            return answered_of(self.effects).stat().st_size >= wanted

        await eventually(is_answered, what=f"{count} more answers of the platform")

    def logged(self) -> dict[str, int]:
        """The length of each process's log, for `said`."""
        return {process.name: process.log.stat().st_size for process in (*self.apis, *self.workers)}

    async def said(self, words: str, processes: Sequence[PythonProcess], since: Mapping[str, int]) -> None:
        """Wait until each of the processes has logged something since the call of `logged`."""

        async def is_said() -> bool:
            return all(words.encode() in process.said_since(since[process.name]) for process in processes)

        await eventually(is_said, what=words)

    async def evicted(self) -> None:
        """Wait until Redis has dropped a key."""

        async def has_evicted() -> bool:
            return bool((await self.redis.info("stats"))["evicted_keys"])

        await eventually(has_evicted, what="an eviction")

    async def given_up(self) -> int:
        """How many recorded tasks never had an answer: the smallest of several counts of unanswered ones."""
        looks = []
        for _ in range(20):
            looks.append(self._count_unanswered())
            await self.load.more(1)
        return min(looks)

    async def unanswered(self, count: int) -> None:
        """Wait until this many recorded tasks are unanswered."""

        async def is_so() -> bool:
            return self._count_unanswered() >= count

        await eventually(is_so, what=f"{count} unanswered tasks")

    def _count_unanswered(self) -> int:
        return self.kit.count(Place.LEDGER, Place.HISTORY) - len(self.load.acked)

    def strike(self) -> None:
        """Note that a fault strikes what is in flight now."""
        self.struck_at.append(to_text(system_clock()))

    async def ended(self) -> None:
        """Wait until every task accepted before now has ended."""
        now = to_text(system_clock())

        async def is_ended() -> bool:
            oldest = self.kit.oldest_waiting()
            return oldest is None or oldest > now

        try:
            await eventually(is_ended, what=f"the end of all that was accepted before {now}")
        except TimeoutError as error:
            error.add_note(self.kit.activity())
            raise

    @contextmanager
    def held_answers(self) -> Iterator[None]:
        """Make the platform accept posts without answering, for a while."""
        hold_of(self.effects).touch()
        try:
            yield
        finally:
            hold_of(self.effects).unlink()

    def close_platform(self) -> None:
        """Make the platform refuse every post until `open_platform`."""
        gate_of(self.effects).touch()

    def open_platform(self) -> None:
        """Make the platform accept posts again."""
        gate_of(self.effects).unlink()

    async def finish(self) -> Verdict:
        """Stop the load, heal, drain and check; prints one line of JSON."""
        began = time.monotonic()
        await self.load.stop()
        await self.start()
        await self.drained()
        facts = await self.facts()
        verdict = verdict_of(facts, self.publisher_class)
        line = {
            "seed": self.seed,
            "class": self.publisher_class,
            "faults": dict(self.faults),
            "posted": len(facts.posted),
            "acked": len(facts.acked),
            "lost": len(verdict.lost),
            "duplicated": len(verdict.duplicated),
            "unknown": verdict.unknown,
            "recovered": verdict.recovered,
            "unanswered": verdict.unanswered,
            "unexpected": verdict.unexpected[:SHOWN],
            "answers": dict(self.load.answers),
            "slowest_s": round(self.load.slowest_s, 3),
            "drain_s": round(time.monotonic() - began, 1),
        }
        sys.stdout.write(f"\n{msgspec.json.encode(line).decode()}\n")
        return verdict

    async def facts(self) -> Facts:
        """What there is now."""
        crashes = [line for process in (*self.apis, *self.workers) for line in process.tracebacks()]
        if self._has_crashing_publisher:
            crashes = [line for line in crashes if '"publish.crashed"' not in line]
        return Facts(
            posted=self.load.posted,
            acked=self.load.acked,
            rows=self.kit.tasks(),
            effects=read_effects(self.effects),
            counted=self.kit.counted(),
            faults=self.kit.find_faults(),
            left_over=await find_left_over(self.redis),
            answers=[*self.load.unexpected, *crashes],
            struck_at=self.struck_at,
            may_lack_data=self._may_lack_data,
        )

    async def drained(self) -> None:
        """Wait until the ledger and the queues are empty, for a minute at most; the checks report what is left."""

        async def is_drained() -> bool:
            return self.kit.count(Place.LEDGER) == 0 and not await find_left_over(self.redis)

        try:
            await eventually(is_drained, timeout_s=DRAIN_S)
        except TimeoutError:
            return


@asynccontextmanager
async def playing(scene: Scene, *, is_running: bool = True) -> AsyncIterator[Scene]:
    """The scene with everything running (if `is_running`), and nothing left afterwards."""
    async with AsyncExitStack() as cleanup:
        await cleanup.enter_async_context(scene.proxy.serving())
        cleanup.push_async_callback(scene.close)
        if is_running:
            await scene.start()
        yield scene
