"""A Valkey and its replica, watched by three Sentinels: on 127.0.0.1, or on hosts of their own. All have passwords."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

from chaos_kit.processes import frozen
from everpost.children import Child
from everpost.embedded import server_environment, server_program
from everpost.testing import eventually

MASTER = "post"
PASSWORD, REPLICA_PASSWORD, SENTINEL_PASSWORD = "of,redis", "of-replicas", "of-sentinels"
DATABASE = 2
TEST = "test"  # the name of the tests' own connections
DOWN_AFTER_MS = 1_000
FAILOVER_TIMEOUT_MS = 6_000
QUICK = ("INFO-PERIOD", 500, "PUBLISH-PERIOD", 500, "PING-PERIOD", 200, "ASK-PERIOD", 200)
REDIS = f"""
requirepass {PASSWORD}
user replica on >{REPLICA_PASSWORD} +psync +replconf +ping
masteruser replica
masterauth {REPLICA_PASSWORD}
save ""
appendonly no
repl-diskless-sync-delay 0
maxmemory-policy noeviction
"""
SENTINEL = f"""
sentinel monitor {MASTER} {{master}} 2
sentinel auth-pass {MASTER} {PASSWORD}
sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}
sentinel failover-timeout {MASTER} {FAILOVER_TIMEOUT_MS}
sentinel known-replica {MASTER} {{replica}}
"""


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Spot(NamedTuple):
    """Where a server is.

    Attributes:
        command: Put before another command, it runs that on the server's host.
    """

    address: str
    port: int
    command: Sequence[str] = ()

    def __str__(self) -> str:
        """The place as in a configuration file."""
        return f"{self.address} {self.port}"


def local_place(port: int) -> Spot:
    """A place on 127.0.0.1."""
    return Spot("127.0.0.1", port)


class Node:
    """A Valkey server, or a Sentinel; it writes its configuration file itself when its role changes.

    The tests' own connections are through a Unix socket, which a cut network does not harm.
    """

    def __init__(
        self, folder: Path, place: Spot, configuration: str, *arguments: str, password: str, database: int = 0
    ) -> None:
        self.folder = folder
        self.place = place
        self._arguments = arguments
        options: dict[str, Any] = {"socket_timeout": 1, "socket_connect_timeout": 1, "client_name": TEST}
        options["retry"] = Retry(NoBackoff(), 1)  # Sentinels close the connections of a server whose role they change
        options["retry_on_error"] = [ConnectionLost]
        self.socket = folder / "socket"
        options |= {"unix_socket_path": str(self.socket), "db": database, "password": password}
        self.redis: Any = Redis(**options)  # redis-py leaves much untyped
        self.child: Child | None = None
        folder.mkdir(parents=True)
        head = f"port {place.port}\nbind {place.address}\nunixsocket {self.socket}\ndir {folder}\n"
        (folder / "server.conf").write_text(head + configuration, encoding="utf-8")

    async def start(self) -> None:
        """Start it, with what its configuration file says now, and wait until it answers."""
        argv = [*self.place.command, server_program(), str(self.folder / "server.conf"), *self._arguments]
        with (self.folder / "log").open("ab") as output:
            self.child = Child(argv, env=server_environment(), output=output)

        async def answers() -> bool:
            with suppress(RedisError, OSError):
                return bool(await self.redis.ping())
            return False

        await eventually(answers, what=f"an answer of the server at {self.place}")

    @property
    def port(self) -> int:
        """Its TCP port."""
        return self.place.port

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.child is not None:
            self.child.kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it for a while."""
        with frozen(self.child):
            yield

    async def is_master(self) -> bool:
        """Whether it is one, in its own opinion."""
        with suppress(RedisError, OSError):
            return bool((await self.redis.role())[0] == b"master")
        return False

    async def clients(self) -> list[str]:
        """The lines of CLIENT LIST for Everpost's connections."""
        found: list[str] = []
        for kind in ("normal", "pubsub"):
            found += (await self.redis.execute_command("CLIENT", "LIST", "TYPE", kind)).decode().splitlines()
        return [line for line in found if f" db={DATABASE} " in line and f" name={TEST} " not in line]

    async def close(self) -> None:
        """End the process."""
        self.kill()
        await self.redis.aclose()


class Fleet:
    """The servers. `start` may be called again to bring back killed ones.

    Args:
        sentinel_password: That of the Sentinels; empty if they have no password.
        is_quick: Sentinels talk more often than they do by default: 0.5 instead of 2 and 10 s. By default a replaced
            master that can be reached goes on as a master for 8 to 18 s.
        places: Those of the two servers and the three Sentinels; by default on 127.0.0.1.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sentinel_password: str = SENTINEL_PASSWORD,
        is_quick: bool = True,
        places: Sequence[Spot] | None = None,
    ) -> None:
        self._sentinel_password = sentinel_password
        self._is_quick = is_quick
        master, replica, *watching = places or [local_place(port) for port in free_ports(5)]
        replica_of = f"replicaof {master}\n"
        self.nodes = [
            Node(folder / "redis0", master, REDIS, password=PASSWORD, database=DATABASE),
            Node(folder / "redis1", replica, REDIS + replica_of, password=PASSWORD, database=DATABASE),
        ]
        ids = [f"{uuid4().hex}{number:08x}" for number in range(3)]
        self.sentinels = []
        for number, place in enumerate(watching):
            others = "".join(
                f"sentinel known-sentinel {MASTER} {watching[other]} {ids[other]}\n"
                for other in range(3)
                if other != number
            )
            configuration = SENTINEL.format(master=master, replica=replica) + others
            configuration = f"sentinel myid {ids[number]}\n{configuration}"
            if sentinel_password:
                configuration += f"requirepass {sentinel_password}\nsentinel sentinel-pass {sentinel_password}\n"
            folder_of = folder / f"sentinel{number}"
            self.sentinels.append(Node(folder_of, place, configuration, "--sentinel", password=sentinel_password))

    @property
    def address(self) -> str:
        """The address in the form of EVERPOST_REDIS."""
        places = ",".join(f"{sentinel.place.address}:{sentinel.port}" for sentinel in self.sentinels)
        login = f":{PASSWORD.replace(',', '%2C')}"
        query = f"?sentinel_password={self._sentinel_password}" if self._sentinel_password else ""
        return f"redis+sentinel://{login}@{places}/{MASTER}/{DATABASE}{query}"

    @property
    def servers(self) -> Sequence[Node]:
        """All of them."""
        return [*self.nodes, *self.sentinels]

    async def start(self) -> None:
        """Start those that do not run, and wait until a failover is possible."""
        idle = [one for one in self.servers if one.child is None or one.child.exit_code is not None]
        await asyncio.gather(*(one.start() for one in idle))
        if self._is_quick:
            for sentinel in self.sentinels:
                await sentinel.redis.execute_command("SENTINEL", "DEBUG", *QUICK)
        await self.is_whole()

    async def close(self) -> None:
        """End all processes."""
        for one in self.servers:
            await one.close()

    async def master(self) -> Node:
        """The present master; waits until there is one."""
        return await eventually(self._agreed, what="a master") or self.nodes[0]

    async def _agreed(self) -> Node | None:
        """The master that most Sentinels name, if it agrees."""
        places = [await self._named_by(sentinel) for sentinel in self.sentinels]
        for node in self.nodes:
            if places.count(node.place[:2]) > 1 and await node.is_master():
                return node
        return None

    async def replica(self) -> Node:
        """The other one."""
        master = await self.master()
        return next(node for node in self.nodes if node is not master)

    async def is_whole(self) -> None:
        """Wait until the replica has everything, and all Sentinels know it."""

        async def is_so() -> bool:
            master = await self.master()
            replication = await master.redis.info("replication")
            return replication.get("slave0", {}).get("state") == "online" and all(
                [await self._knows_replica(sentinel) for sentinel in self.sentinels]
            )

        await eventually(is_so, timeout_s=60, what="a replica that is in step")

    async def other_master(self, old: Node) -> Node:
        """Wait until another than `old` is the master. Sentinels whose vote failed vote again after 12 s."""

        async def other() -> Node | None:
            master = await self._agreed()
            return None if master is old else master

        return await eventually(other, timeout_s=30, what="another master") or old

    async def fail_over(self) -> Node:
        """`SENTINEL FAILOVER`: make the replica the master, and return it."""
        old = await self.master()
        await self.ask_for_failover()
        return await self.other_master(old)

    async def ask_for_failover(self) -> None:
        """`SENTINEL FAILOVER`, without waiting for what comes of it."""
        await self.sentinels[0].redis.execute_command("SENTINEL", "FAILOVER", MASTER)

    @asynccontextmanager
    async def without_replication(self) -> AsyncIterator[None]:
        """Keep from the replica what the master takes meanwhile."""
        master = await self.master()
        await master.redis.acl_setuser("replica", enabled=False)
        await master.redis.execute_command("CLIENT", "KILL", "TYPE", "replica")
        try:
            yield
        finally:
            with suppress(RedisError, OSError):
                await master.redis.acl_setuser("replica", enabled=True)

    async def _named_by(self, sentinel: Node) -> tuple[str, int] | None:
        with suppress(RedisError, OSError):
            found = await sentinel.redis.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
            return None if found is None else (found[0].decode(), int(found[1]))
        return None

    async def _knows_replica(self, sentinel: Node) -> bool:
        with suppress(RedisError, OSError):
            replicas = await sentinel.redis.sentinel_slaves(MASTER)
            return any(one["master-link-status"] == "ok" and not one["is_sdown"] for one in replicas)
        return False


@asynccontextmanager
async def running_fleet(folder: Path, **options: Any) -> AsyncIterator[Fleet]:
    """The servers, started, and ended afterwards; `options` are those of `Fleet`."""
    fleet = Fleet(folder, **options)
    try:
        await fleet.start()
        yield fleet
    finally:
        await fleet.close()
