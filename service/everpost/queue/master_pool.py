"""Connections to the master that Sentinels name. They leave a master that was demoted; docs/redis.md says why."""

import asyncio
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import structlog
from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as ConnectionLost

from everpost.queue.connection import ClosedConnectionTold
from everpost.queue.redis_server import Opinion

log = structlog.get_logger("everpost.queue")

ASK_S = 0.4  # a Sentinel that is silent for longer is left out
LOOK_EVERY_S = 1.0

Address = tuple[str, int]
SentinelRefusal = ResponseError | AuthenticationError


class SentinelsSilentError(MasterNotFoundError):
    """No Sentinel answered."""


class Sentinels(Sentinel):
    """Asks all Sentinels at once, and believes the answer with the newest configuration.

    redis-py asks one after the other and believes the first. One that is cut off from the others still names the old
    master.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]
        self._asked: set[asyncio.Task[Any]] = set()

    async def discover_master(self, service_name: str) -> Address:
        """The address of the present master; it returns as soon as most Sentinels have answered.

        Raises:
            SentinelsSilentError: No Sentinel answered.
            MasterNotFoundError: The Sentinels do not know the master, or see that it is down; its argument says why.
        """
        asked = [asyncio.create_task(self._state(sentinel, service_name)) for sentinel in self.sentinels]
        for one in asked:
            self._asked.add(one)
            one.add_done_callback(self._asked.discard)
        states: list[dict[str, Any]] = []
        refusals: list[SentinelRefusal] = []
        for answer in asyncio.as_completed(asked):
            told = await answer
            if isinstance(told, SentinelRefusal):
                refusals.append(told)
            elif told is not None:
                states.append(told)
                if len(states) > len(asked) // 2:
                    break  # the rest end by themselves: to cancel them would close their connections
        return _newest(states, refusals)

    async def _state(self, sentinel: Redis, service_name: str) -> dict[str, Any] | SentinelRefusal | None:
        """What one Sentinel says of the master; None if it does not answer."""
        try:
            async with asyncio.timeout(ASK_S):
                state: dict[str, Any] = await sentinel.sentinel_master(service_name)  # type: ignore[no-untyped-call]
        except (ResponseError, AuthenticationError) as error:
            return error
        except (RedisError, OSError, TimeoutError):
            return None
        return state

    async def opinions(self, service_name: str) -> list[Opinion]:
        """What each Sentinel says, for people."""
        states = await asyncio.gather(*(self._state(sentinel, service_name) for sentinel in self.sentinels))
        return [_opinion(state) for state in states]

    async def close(self) -> None:
        """Close the connections to the Sentinels."""
        if self._asked:
            await asyncio.wait(self._asked)
        for sentinel in self.sentinels:
            await sentinel.aclose()


def _opinion(state: dict[str, Any] | SentinelRefusal | None) -> Opinion:
    if state is None or isinstance(state, SentinelRefusal):
        return Opinion(refusal=None if state is None else str(state))
    master = f"{state['ip']}:{state['port']}"
    return Opinion(master=master, is_up=_is_up(state), replicas=state["num-slaves"])


def _is_up(state: dict[str, Any]) -> bool:
    return bool(state["is_master"]) and not (state["is_sdown"] or state["is_odown"])


def _newest(states: Sequence[dict[str, Any]], refusals: Sequence[SentinelRefusal]) -> Address:
    if not states:
        if refusals:
            raise MasterNotFoundError(refusals[0])
        raise SentinelsSilentError("no Sentinel answers")
    epoch = max(state["config-epoch"] for state in states)
    for state in states:
        if state["config-epoch"] == epoch and _is_up(state):
            return state["ip"], state["port"]
    raise MasterNotFoundError("the Sentinels see that the master is down")


class MasterConnection(ClosedConnectionTold, SentinelManagedConnection):
    """A connection to the master. A server that is a replica is left at once."""

    async def on_connect(self) -> None:
        """Authenticate, select the database, and check that the server is a master.

        Raises:
            ConnectionError: It is a replica: the Sentinels have not agreed yet, or the one that answered is outdated.
        """
        await super().on_connect()
        await self.send_command("ROLE", check_health=False)
        try:
            role = await self.read_response()
        except NoPermissionError:  # then the first write is refused
            return
        if role[0] != b"master":
            raise ConnectionLost(f"{self.host}:{self.port} is not a master")

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read an answer, as redis-py does.

        Raises:
            ConnectionError: The server has become a replica.
        """
        try:
            return await super().read_response(*args, **kwargs)
        except ResponseError as error:
            if "READONLY" not in str(error):  # Redis 6 wraps the error of a command in a script
                raise
            await self.disconnect(nowait=True)
            raise ConnectionLost("the master has become a replica") from error


class MasterTLSConnection(MasterConnection, SSLConnection):
    """The same, with TLS."""


class MasterPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the present master.

    While there are connections, the Sentinels are asked every `LOOK_EVERY_S` seconds for the master. Connections to
    another server are closed, even while they are in use. A master that was frozen or cut off when it was replaced does
    not close them itself.
    """

    sentinel_manager: Sentinels
    master_address: Address | None

    def __init__(self, service_name: str, sentinels: Sentinels, **options: Any) -> None:
        self._made: WeakSet[AbstractConnection] = WeakSet()
        self._asking: asyncio.Task[Address] | None = None
        self._watching: asyncio.Task[None] | None = None
        super().__init__(service_name, sentinels, **options)  # type: ignore[no-untyped-call]

    def make_connection(self) -> AbstractConnection:
        """A new connection, also one that is not part of the pool."""
        connection: AbstractConnection = super().make_connection()  # type: ignore[no-untyped-call]
        self._made.add(connection)
        return connection

    async def get_master_address(self) -> Address:
        """The master's address; called for each connection that is opened.

        If no Sentinel answers, it is the last known one: a connection also checks that the server is a master.

        Raises:
            MasterNotFoundError: There is no master at the moment, or none was ever known.
        """
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(), name="redis master watch")
        try:
            return await self._look_up()
        except SentinelsSilentError:
            if self.master_address is None:
                raise
            return self.master_address

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close connections, as redis-py does; if all are closed, the watch ends too."""
        try:
            await super().disconnect(inuse_connections)
        finally:
            if inuse_connections:
                await self._stop_watching()

    async def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        await self.sentinel_manager.close()

    async def _look_up(self) -> Address:
        """Ask the Sentinels, once for all who wait."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self.sentinel_manager.discover_master(self.service_name))
            self._asking.add_done_callback(_take_note)
        address = await asyncio.shield(self._asking)
        if address != self.master_address:
            if self.master_address is not None:
                log.warning("redis.master_changed", master=f"{address[0]}:{address[1]}")
            self.master_address = address
        await self._leave_others()
        return address

    async def _leave_others(self) -> None:
        for connection in list(self._made):
            assert isinstance(connection, MasterConnection)
            if connection.is_connected and (connection.host, connection.port) != self.master_address:
                await connection.disconnect(nowait=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look_up()
            except (RedisError, OSError):
                continue  # a caller that needs a connection gets the error
            except Exception:
                log.exception("redis.watch_failed")


def _take_note(asking: "asyncio.Task[Address]") -> None:
    """Retrieve the error, so that asyncio does not report it if every caller was cancelled."""
    if not asking.cancelled():
        asking.exception()
