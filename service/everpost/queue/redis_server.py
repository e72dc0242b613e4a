"""The one way to Redis: every command is sent, timed and refused here."""

import asyncio
import contextlib
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeVar, cast

import hiredis
import msgspec
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.commands.core import AsyncScript
from redis.exceptions import AuthenticationError, NoScriptError, RedisError, ResponseError
from redis.exceptions import ConnectionError as ConnectionLost

from everpost.errors import QueueUnreachable
from everpost.queue.breaker import Breaker
from everpost.queue.keys import EPOCH_KEY, SET_ASIDE, TYPES
from everpost.queue.overwritten_keys import is_wrong_type, set_aside
from everpost.time_limit import TimeLimit

Answer = TypeVar("Answer")

ANSWER_S = 1.0  # a Redis that is silent for longer counts as away
FILLING = 0.85  # of maxmemory
UNREACHABLE = (RedisError, OSError, asyncio.TimeoutError)
SCRIPTS = Path(__file__).parent / "scripts"


class RedisMemory(msgspec.Struct, frozen=True, kw_only=True):
    """How full Redis is.

    Attributes:
        max_bytes: Its `maxmemory`; 0 is no limit.
    """

    used_bytes: int
    max_bytes: int

    @property
    def share(self) -> float:
        """The used share of its memory, from 0 to about 1; 0 if there is no limit."""
        return self.used_bytes / self.max_bytes if self.max_bytes else 0.0

    @property
    def is_filling(self) -> bool:
        """Whether an operator should be warned."""
        return self.share >= FILLING


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """What a Sentinel says of a master.

    Attributes:
        master: Its address; None if the Sentinel does not answer, or does not know it.
        refusal: Why the Sentinel does not say it, in its words.
        replicas: How many replicas it has.
    """

    master: str | None = None
    refusal: str | None = None
    is_up: bool = False
    replicas: int = 0


class Refusal(msgspec.Struct, frozen=True):
    """Redis's refusal, and whether it refused the password."""

    words: str
    is_password: bool


class ScriptConnection:
    """Runs one Lua script, which may run twice, over its own connection. Calls take turns.

    redis-py's client takes a connection from its pool for each call, and packs the arguments in Python. That costs 40
    us more per call and 0.6 us more per argument. After a failure or time-out, the connection is closed, and the next
    call opens it again. The caller limits the wait by cancelling the call, because redis-py's own limit makes an
    asyncio task per write, which costs 25 us more.

    Args:
        pool: Gives the connection's address and options; the connection is not part of the pool.
    """

    def __init__(self, pool: ConnectionPool, script: str) -> None:
        self._connection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection.socket_timeout = None
        self._script = script
        self._sha = sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._turn = asyncio.Lock()

    async def run(self, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """The script's answer.

        Raises:
            RedisError: The server is unreachable or slow, or it refuses; the script may have run.
        """
        rest = (len(keys), *keys, *arguments)
        await self._turn.acquire()  # `async with` costs two more coroutines
        try:
            return await self._send("EVALSHA", self._sha, *rest)
        except NoScriptError:
            return await self._send("EVAL", self._script, *rest)
        finally:
            self._turn.release()

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.disconnect()

    async def _send(self, *command: str | bytes | int) -> Any:
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub only knows tuples of one element
        try:
            await self._connection.send_packed_command(packed, check_health=False)  # no interval is set for checks
            return await self._connection.read_response()
        except ConnectionLost:  # the server may have restarted since the last call
            await self._connection.send_packed_command(packed, check_health=False)
            return await self._connection.read_response()


class RedisServer:
    """Sends commands to one Redis.

    Once Redis has not answered, it gets no commands until it answers a probe in the background. Until then, every call
    raises `QueueUnreachable` at once.

    Attributes:
        redis: The client whose commands `ask` awaits.
        has_sentinels: Whether Sentinels may replace the server by its replica.
    """

    def __init__(self, redis: Redis, *, may_repair: bool = True) -> None:
        """`may_repair` moves shared keys of a wrong type out of the way when a command meets one."""
        self.redis = redis
        self.has_sentinels = isinstance(redis.connection_pool, SentinelConnectionPool)
        self._may_repair = may_repair
        self._breaker = Breaker(self.ping)
        self._refusal: Refusal | None = None
        self._own: list[ScriptConnection] = []

    @property
    def is_away(self) -> bool:
        """Whether Redis is known not to answer."""
        return self._breaker.is_open

    def script(self, name: str, beginning: str | None = None) -> AsyncScript:
        """`scripts/<name>.lua`, after the script `beginning`; call it and pass the call to `ask`."""
        return self.redis.register_script(read_script(name, beginning))

    def script_on_own_connection(self, name: str, beginning: str | None = None) -> ScriptConnection:
        """The script on its own connection, for scripts that run often; `close` closes the connection."""
        connection = ScriptConnection(self.redis.connection_pool, read_script(name, beginning))
        self._own.append(connection)
        return connection

    async def ask(self, request: Awaitable[Answer] | Answer) -> Answer:
        """The answer to a command of `redis`, or to a script.

        Raises:
            QueueUnreachable: Redis is away, was silent for `ANSWER_S`, or refused.
        """
        request = cast("Coroutine[Any, Any, Answer]", request)  # redis-py types one method for its two clients
        if self._breaker.is_open:
            request.close()
            raise self._away()
        try:
            with TimeLimit(ANSWER_S):
                return await request
        except ResponseError as error:
            if is_wrong_type(error) and self._may_repair:
                await self._repair()
            raise QueueUnreachable(str(error)) from error
        except UNREACHABLE as error:
            self._refusal = _refusal_in(error)
            self._breaker.trip(None if self._refusal is None else self._refusal.words)
            raise self._away() from error

    async def ping(self) -> bool:
        """Whether Redis answers. An error counts as an answer: a Redis whose disk is full refuses even a PING."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self.redis.ping()
        except ResponseError:
            return True
        except UNREACHABLE as error:
            self._refusal = _refusal_in(error)
            return False
        return True

    async def check_writable(self) -> None:
        """Check that Redis accepts writes; this changes nothing.

        Raises:
            QueueUnreachable: It does not, for example because its memory or disk is full.
        """
        await self.ask(self.redis.set(f"{EPOCH_KEY}:none", "", xx=True))

    async def now_ms(self) -> int:
        """The server's time, in UTC milliseconds since the epoch."""
        seconds, microseconds = await self.ask(self.redis.time())
        return int(seconds) * 1_000 + int(microseconds) // 1_000

    async def memory(self) -> RedisMemory:
        """How full Redis is."""
        memory = await self.ask(self.redis.info("memory"))
        return RedisMemory(used_bytes=int(memory["used_memory"]), max_bytes=int(memory.get("maxmemory", 0)))

    async def facts(self) -> Mapping[str, Any]:
        """The server's facts for `doctor` and the logs: version, eviction policy, persistence."""
        server = await self.ask(self.redis.info("server"))
        memory = await self.ask(self.redis.info("memory"))
        persistence = await self.ask(self.redis.info("persistence"))
        return {
            "version": str(server["redis_version"]),
            "server": f"{server.get('server_name', 'redis')} {server.get('valkey_version', server['redis_version'])}",
            "maxmemory_policy": memory.get("maxmemory_policy"),
            "append_only_file": bool(persistence.get("aof_enabled")),
        }

    async def opinions(self) -> list[Opinion]:
        """What each Sentinel says of the server; empty if the address names no Sentinels."""
        pool = self.redis.connection_pool
        if not isinstance(pool, SentinelConnectionPool):
            return []
        opinions: list[Opinion] = await pool.sentinel_manager.opinions(pool.service_name)
        return opinions

    async def keys_of_wrong_type(self) -> dict[str, str]:
        """The shared keys that other programs overwrote, each with its fault; this changes nothing."""
        wrong: dict[str, str] = {}
        for key, wanted in TYPES.items():
            kind = (await self.ask(self.redis.type(key))).decode()
            if kind not in {"none", wanted}:
                wrong[key] = f"is a {kind} instead of a {wanted}"
            if await self.ask(self.redis.exists(f"{SET_ASIDE}{key}")):
                wrong[f"{SET_ASIDE}{key}"] = "is the former content of that key, which had the wrong type"
        return wrong

    async def close(self) -> None:
        """Stop the probes and close all connections."""
        await self._breaker.stop()
        for connection in self._own:
            await connection.close()
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()

    def _away(self) -> QueueUnreachable:
        """The error that says why Redis is not called: it does not answer, or it refuses connections."""
        if self._refusal is None:
            return QueueUnreachable()
        return QueueUnreachable(self._refusal.words, is_password=self._refusal.is_password)

    async def _repair(self) -> None:
        with contextlib.suppress(*UNREACHABLE):
            async with asyncio.timeout(ANSWER_S):
                await set_aside(self.redis, TYPES)


def read_script(name: str, beginning: str | None = None) -> str:
    """The text of `scripts/<name>.lua`, after that of the script `beginning`."""
    before = "" if beginning is None else read_script(beginning)
    return before + (SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")


def _refusal_in(error: BaseException) -> Refusal | None:
    """Redis's refusal in an error; None if Redis did not answer. redis-py wraps errors of its connecting."""
    inner = error.args[0] if isinstance(error, ConnectionLost) and error.args else error
    if isinstance(inner, AuthenticationError):
        return Refusal(str(inner), is_password=True)
    return Refusal(str(inner), is_password=False) if isinstance(inner, ResponseError) else None
