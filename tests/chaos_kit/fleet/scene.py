"""A scene whose processes are on hosts of their own: two APIs, three workers, a PostgreSQL pair, Valkeys, Sentinels.

What the platform accepted is in a file, which all hosts share; so a cut network hides nothing that was sent.
"""

import math
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from chaos_kit.checks import Verdict
from chaos_kit.fleet.hosts import Network
from chaos_kit.fleet.pair import PairOnHosts
from chaos_kit.processes import Api, PythonProcess
from chaos_kit.scene import Scene, playing
from chaos_kit.sentinels import Fleet, Node, Spot
from everpost.publishing import PublisherClass
from everpost.task.place import Place
from everpost.testing import eventually
from postgresql_server import PostgresqlServer
from store_kit import StoreKit, kit_of

CLIENTS = "clients"
APIS, WORKERS = 2, 3
SENTINELS = ("sentinel0", "sentinel1", "sentinel2")
REDIS = ("redis0", "redis1")
POSTGRESQL = ("postgresql0", "postgresql1")
NAMES = (CLIENTS, "api0", "api1", "worker0", "worker1", "worker2", *POSTGRESQL, *REDIS, *SENTINELS)
REDIS_PORT, SENTINEL_PORT = 6379, 26379
SLOWEST_S = 12.0  # an API may wait for 5 s, find that its server is gone, and wait again
READY_S = 30.0  # after the last fault has ended
RATE = 60  # posts a second
CLOCKS_S = 180.0  # the most by which the clock of a host of an API or a worker is wrong


class FleetScene(Scene):
    """The scene.

    Args:
        is_synchronous: PostgreSQL's commits wait for the standby.

    Attributes:
        began_s: When it was made (monotonic).
        recovered_s: How long it took after each fault until tasks were accepted and sent.
    """

    fleet: Fleet

    def __init__(self, folder: Path, *, seed: int, is_synchronous: bool, **options: Any) -> None:
        self.network = Network(NAMES, seed=seed)
        self.pair = PairOnHosts(*(self.network[name] for name in POSTGRESQL), is_synchronous=is_synchronous)
        self.is_synchronous = is_synchronous
        self.began_s = time.monotonic()
        self.recovered_s: list[float] = []
        self._excused_until_s: dict[str, float] = {}
        places = [
            Spot(self.network[name].address, port, self.network[name].command)
            for names, port in ((REDIS, REDIS_PORT), (SENTINELS, SENTINEL_PORT))
            for name in names
        ]
        names_of_apis = ",".join(self.network[f"api{number}"].address for number in range(APIS))
        settings = {"EVERPOST_INSECURE": "1", "EVERPOST_ALLOWED_HOSTS": names_of_apis}
        super().__init__(
            folder,
            seed=seed,
            publisher_class=PublisherClass.NONE,
            database=self.pair.address,
            fleet=Fleet(folder / "fleet", places=places),
            **{"apis": APIS, "workers": WORKERS, "clients": 8, "rate": RATE, "slowest_s": SLOWEST_S, **options},
            settings=settings,
        )
        for process in (*self.apis, *self.workers):
            host = self.network[process.name]
            process.run_with(host.command)
            clock_ahead_s = self.chance.uniform(-CLOCKS_S, CLOCKS_S)
            process.move_to_host(clock_ahead_s, {"EVERPOST_HOST": host.address})

    @property
    def kit(self) -> StoreKit:
        """A look into the present primary, past the network."""
        return kit_of(self.pair.primary.local_address())

    def tell(self, what: str) -> None:
        """Print what happens, with its time."""
        sys.stdout.write(f"{time.monotonic() - self.began_s:7.1f} s  {what}\n")
        sys.stdout.flush()

    def addresses(self) -> list[str]:
        """The APIs that clients reach."""
        serving = super().addresses()
        reached = {self.network[api.name].address for api in self.apis if not self.network.is_cut(CLIENTS, api.name)}
        return [address for address in serving if httpx.URL(address).host in reached]

    def is_excused(self, address: str, since_s: float) -> bool:
        """Whether the API was frozen, or the clients' way to it was harmed."""
        return self._excused_until_s.get(httpx.URL(address).host, 0) >= since_s

    async def ended(self) -> None:
        """Wait until every task that waits now has ended. Times would not tell, because the clocks of hosts differ."""
        waiting = self._waiting()

        async def is_ended() -> bool:
            return waiting.isdisjoint(self._waiting())

        await eventually(is_ended, what=f"the end of {len(waiting)} tasks")

    def _waiting(self) -> set[str]:
        return {task.task_id for task in self.kit.tasks() if task.place is Place.LEDGER}

    @contextmanager
    def cut_off(self, name: str) -> Iterator[None]:
        """Lose everything between one host and all others for a while."""
        self.network.cut(name, *self.network.others(name))
        try:
            yield
        finally:
            self.network.heal()

    @contextmanager
    def excused(self, *names: str) -> Iterator[None]:
        """Expect no answer of these hosts in time for a while."""
        hosts = [self.network[name].address for name in names]
        self._excused_until_s |= dict.fromkeys(hosts, math.inf)
        try:
            yield
        finally:
            self._excused_until_s |= dict.fromkeys(hosts, time.monotonic())

    async def start(self) -> None:
        """Start what is not running; PostgreSQL at first only."""
        if not self.pair.is_started:
            await self.pair.start()
        await super().start()

    async def close(self) -> None:
        """End every process and the network."""
        await super().close()
        self.pair.remove()

    def node_of(self, name: str) -> Node:
        """The Valkey or Sentinel on a host."""
        address = self.network[name].address
        return next(node for node in self.fleet.servers if node.place.address == address)

    async def master(self) -> str:
        """The host of Redis's present master."""
        return self.name_of((await self.fleet.master()).place.address)

    @property
    def primary(self) -> str:
        """The host of PostgreSQL's present primary."""
        return self.name_of(self.pair.primary.host)

    def name_of(self, address: str) -> str:
        """The name of the host that has this address."""
        return next(host.name for host in self.network.hosts.values() if host.address == address)

    def process_of(self, name: str) -> PythonProcess:
        """The API or worker on a host."""
        return next(process for process in (*self.apis, *self.workers) if process.name == name)

    def server_of(self, name: str) -> PostgresqlServer:
        """The PostgreSQL on a host."""
        address = self.network[name].address
        return next(server for server in (self.pair.primary, self.pair.standby) if server.host == address)

    async def pauses(self) -> list[bool]:
        """Whether dispatch is paused, in the eyes of each API."""
        return [bool(answer and answer.get("paused")) for answer in await self._ask("/api/v1/dispatch", *self.apis)]

    async def resume(self) -> dict[str, Any]:
        """Resume dispatch as an operator would; the counts of the held tasks."""
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(f"{self.apis[0].address}/api/v1/dispatch/resume")
        assert answer.is_success, answer.text
        resumed: dict[str, Any] = answer.json()["resumed"]
        return resumed

    async def failing(self, api: Api) -> list[str]:
        """The names of the checks that an API finds failing."""
        (answer,) = await self._ask("/health/ready", api)
        assert answer is not None
        return [check["name"] for check in answer["checks"] if not check["ok"]]

    async def ready(self) -> None:
        """Wait until every API says that all its checks are good, and that all workers take tasks."""

        async def is_ready() -> bool:
            self._last = (
                await self._ask("/health/ready", *self.apis),
                await self._ask("/api/v1/tasks/health", *self.apis),
            )
            checks, queues = self._last
            return all(answer and answer.get("ready") for answer in checks) and all(map(_all_consume, queues))

        try:
            await eventually(is_ready, timeout_s=READY_S, what="readiness")
        except TimeoutError:
            self.load.unexpected.append(f"not ready {READY_S:g} s after the last fault: {self._last}")

    async def _ask(self, path: str, *apis: Api) -> list[Any]:
        """The answer of each; None for one that did not answer."""
        async with httpx.AsyncClient(timeout=5) as client:
            answers: list[Any] = [None] * len(apis)
            for number, api in enumerate(apis):
                with suppress(httpx.TransportError):
                    answers[number] = (await client.get(api.address + path)).json()
            return answers

    async def finish(self) -> Verdict:
        """Wait until all is ready, then as in every scene."""
        self.network.heal()
        await self.start()
        await self.ready()
        return await super().finish()


def _all_consume(answer: Any) -> bool:
    workers = ((answer or {}).get("queue") or {}).get("workers", ())
    return sum(bool(worker.get("consuming")) for worker in workers) == WORKERS


@asynccontextmanager
async def playing_fleet(scene: FleetScene) -> AsyncIterator[FleetScene]:
    """The scene with everything running, and nothing left afterwards."""
    try:
        with scene.network[CLIENTS].entered():
            async with playing(scene):
                yield scene
    finally:
        await scene.network.close()
