"""Redis as the API and the relay see it: enqueue, withdraw, look up. The worker's side is `everpost_workers.engine`."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from everpost.batcher import Batcher
from everpost.clock import Clock, system_clock
from everpost.errors import QueueUnreachable
from everpost.failpoints import failpoint
from everpost.metrics import Field, written_field
from everpost.queue.breaker import Breaker
from everpost.queue.codec import job_of, read_jobs
from everpost.queue.connections import ScriptConnection
from everpost.queue.pool import connection_pool
from everpost.queue.refusals import Refusal, refusal_of
from everpost.queue.sender import ImpatientSender, Put, portions
from everpost.queue.strangers import (
    LONGEST_NAME,
    LONGEST_SAID,
    MOST_WORKERS,
    SET_ASIDE,
    is_wrong_type,
    read_said,
    set_aside,
)
from everpost.task.model import DEFAULT_PRIORITY, PRIORITIES, WITHDRAWN_S, QueueEntry, Task
from everpost.task.queued_job import QueuedJob

log = structlog.get_logger("everpost.queue")

Answer = TypeVar("Answer")
Entry = TypeVar("Entry", bound=QueueEntry)

WAKE_CHANNEL = "everpost:wake"
EPOCH_KEY = "everpost:epoch"
WORKERS_KEY = "everpost:workers"
WITHDRAWALS_KEY = "everpost:withdrawals"
RESULTS_KEY = "everpost:results"
METRICS_KEY = "everpost:metrics"
ABORTS_KEY = "arq:abort"
JOB, RESULT = "arq:job:", "arq:result:"
LARGEST_FOUND = 64 << 20  # bytes of a job or result that is read, as workers read jobs
FILLING = 0.85  # of maxmemory
SCANNED = 1_000  # keys looked at in one call
NO_NUMBER = ("WRONGTYPE", "not an integer", "overflow")  # what Redis says of what cannot be added to
MOST_NUMBERS = 10_000  # more fields than any catalogue makes: somebody else wrote them
ANSWER_S = 1.0  # a Redis that is silent for longer is away
UNREACHABLE = (RedisError, OSError, asyncio.TimeoutError)
EPOCH = re.compile(rb"[0-9a-f]{32}")
SCRIPTS = Path(__file__).parent / "scripts"


def queue_name(priority: int) -> str:
    """The arq queue of a priority; the default one is arq's own, where stock clients enqueue."""
    return "arq:queue" if priority == DEFAULT_PRIORITY else f"arq:queue:p{priority}"


QUEUE_NAMES = tuple(queue_name(priority) for priority in PRIORITIES)
TYPES = {
    EPOCH_KEY: "string",
    WORKERS_KEY: "hash",
    WITHDRAWALS_KEY: "zset",
    METRICS_KEY: "hash",
    RESULTS_KEY: "hash",
    ABORTS_KEY: "zset",
    **dict.fromkeys(QUEUE_NAMES, "zset"),
}
"""The types of the keys that all processes share."""


class QueueDepth(msgspec.Struct, frozen=True):
    """Jobs of one priority: due now or leased to a worker, and due later."""

    ready: int
    later: int


class RedisMemory(msgspec.Struct, frozen=True, kw_only=True):
    """How full Redis is.

    Attributes:
        max_bytes: Its `maxmemory`; 0 is none.
    """

    used_bytes: int
    max_bytes: int

    @property
    def share(self) -> float:
        """How much of it is used, from 0 to about 1; 0 where there is no limit."""
        return self.used_bytes / self.max_bytes if self.max_bytes else 0.0

    @property
    def is_filling(self) -> bool:
        """Whether somebody should hear of it."""
        return self.share >= FILLING


class TaskQueue:
    """arq's queues on one Redis.

    `enqueue_*` never raise: the ledger has the task, and the relay brings it here when Redis is back. Everything else
    raises `QueueUnreachable`. Once Redis has not answered, all of them do so at once, until it is found back.
    """

    def __init__(self, redis: Redis, clock: Clock = system_clock, *, may_repair: bool = True) -> None:
        """`may_repair` moves keys that others gave the wrong type out of the way, when they are met."""
        self.redis = redis
        self._clock = clock
        script = (SCRIPTS / "enqueue.lua").read_text(encoding="utf-8")
        self._enqueue = redis.register_script(script)
        self._enqueuer = ScriptConnection(redis.connection_pool, script)
        self._withdraw = redis.register_script((SCRIPTS / "withdraw.lua").read_text(encoding="utf-8"))
        self._put_small = redis.register_script((SCRIPTS / "put_small.lua").read_text(encoding="utf-8"))
        self._shed = redis.register_script((SCRIPTS / "shed_results.lua").read_text(encoding="utf-8"))
        self._missing = redis.register_script((SCRIPTS / "missing.lua").read_text(encoding="utf-8"))
        self._enqueues: Batcher[Task, bool] = Batcher(self._enqueue_batch, max_items=256)
        script = (SCRIPTS / "find.lua").read_text(encoding="utf-8")
        self._find = redis.register_script(script)
        self._finder = ScriptConnection(redis.connection_pool, script)
        self._finds: Batcher[str, QueuedJob | None] = Batcher(self._find_batch, max_items=256)
        self._workers = redis.register_script((SCRIPTS / "workers.lua").read_text(encoding="utf-8"))
        self._breaker = Breaker(self.ping)
        self._may_repair = may_repair
        self._refusal: Refusal | None = None
        self._sender = ImpatientSender(self.restore_tasks)

    @classmethod
    def connect(cls, address: str, clock: Clock = system_clock, *, may_repair: bool = True) -> "TaskQueue":
        """A queue on `address`; the connection is made when first needed."""
        return cls(Redis(connection_pool=connection_pool(address)), clock, may_repair=may_repair)

    async def close(self) -> None:
        """Send what was submitted, then close the connections."""
        await self._enqueues.drain()
        await self._sender.drain()
        await self._breaker.stop()
        await self._enqueuer.close()
        await self._finds.drain()
        await self._finder.close()
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()

    async def enqueue_task(self, task: Task) -> bool:
        """Put a task into its queue; False if Redis did not take it, and the relay will have to."""
        return await self._enqueues.submit(task)

    def enqueue_soon(self, task: Task) -> None:
        """As `enqueue_task`, without waiting for it."""
        self._enqueues.put(task)

    async def enqueue_tasks(self, tasks: Sequence[Task]) -> list[bool]:
        """Put tasks into their queues, in one call; putting one there twice changes nothing."""
        return await self._send(tasks, self.restore_tasks)

    async def _enqueue_batch(self, tasks: Sequence[Task]) -> list[bool]:
        return await self._send(tasks, self._put_alone)

    async def _send(self, tasks: Sequence[Task], put: Put) -> list[bool]:
        if self._breaker.is_open:
            return [False] * len(tasks)
        failpoint("enqueue.before")
        queued = await self._sender.send(tasks, put)
        failpoint("enqueue.after")
        return queued

    async def restore_tasks(self, tasks: Sequence[Task]) -> list[bool]:
        """As `enqueue_tasks`, for the relay: behind it stands nobody, so it has to know when Redis is away."""
        return await self._put(tasks, self._enqueue)

    async def _put_alone(self, tasks: Sequence[Task]) -> list[bool]:
        # As restore_tasks, for the batcher: it makes one call at a time, so this can have a connection of its own.
        return await self._put(tasks, self._enqueuer.run)

    async def _put(self, tasks: Sequence[Task], enqueue: Callable[..., Awaitable[Any]]) -> list[bool]:
        answers: list[int] = []
        for some in portions(tasks):
            answers += await self._ask(enqueue([WAKE_CHANNEL], self._jobs(some)))
        return [answer == 1 for answer in answers]

    def _jobs(self, tasks: Sequence[Task]) -> list[Any]:
        now_ms = self._clock()
        return [
            part
            for task in tasks
            for part in (task.task_id, queue_name(task.priority), task.due_at_ms or "", job_of(task, now_ms))
        ]

    async def withdraw_task(self, task_id: str) -> bool:
        """Take a waiting task out of its queue for good; False if a worker holds it."""
        arguments: list[str | int] = [task_id, round(WITHDRAWN_S * 1000), self._clock()]
        withdrawn = await self._ask(self._withdraw(keys=[WITHDRAWALS_KEY, *QUEUE_NAMES], args=arguments))
        failpoint("withdraw.after")
        return bool(withdrawn)

    async def old_withdrawals(self, limit: int) -> list[str]:
        """Tasks withdrawn so long ago that what they were withdrawn for has happened, or never will."""
        before_ms = self._clock() - round(WITHDRAWN_S * 1000) - 1_000  # by then Redis has dropped its notes too
        found = await self._ask(self.redis.zrangebyscore(WITHDRAWALS_KEY, "-inf", before_ms, start=0, num=limit))
        task_ids = {member: member.decode(errors="replace") for member in found}
        if strange := [member for member, task_id in task_ids.items() if member != task_id.encode()]:
            log.warning("withdrawals.skipped", members=len(strange))
            await self._ask(self.redis.zrem(WITHDRAWALS_KEY, *strange))
        return [task_id for member, task_id in task_ids.items() if member not in strange]

    async def forget_withdrawals(self, task_ids: Sequence[str]) -> None:
        """They have been seen to."""
        if task_ids:
            await self._ask(self.redis.zrem(WITHDRAWALS_KEY, *task_ids))

    async def abort_task(self, task_id: str) -> None:
        """Ask the worker that runs the task to cancel it, as arq's `Job.abort` does."""
        await self._ask(self._put_small(keys=[ABORTS_KEY], args=["ZADD", self._clock(), task_id]))
        with contextlib.suppress(QueueUnreachable):  # the request stands, and workers look now and then by themselves
            await self._ask(self.redis.publish(WAKE_CHANNEL, ""))

    async def find_task(self, task_id: str) -> QueuedJob | None:
        """The task as Redis has it; see `find_tasks`."""
        return await self._finds.submit(task_id)

    async def _find_batch(self, task_ids: Sequence[str]) -> list[QueuedJob | None]:
        keys = [prefix + task_id for prefix in (JOB, RESULT) for task_id in task_ids]
        found: list[bytes | None] = await self._ask(self._finder.run(keys, [LARGEST_FOUND]))
        jobs = read_jobs([*task_ids, *task_ids], found)
        return [jobs.get(task_id) for task_id in task_ids]

    async def find_tasks(self, task_ids: Sequence[str]) -> dict[str, QueuedJob]:
        """The tasks as Redis has them: what ended by its result, the others by their jobs, if it can be read."""
        return await self.find_jobs(task_ids) | await self.find_results(task_ids)

    async def find_results(self, task_ids: Sequence[str]) -> dict[str, QueuedJob]:
        """The results of those of the tasks that have one."""
        return await self._find_jobs(RESULT, task_ids)

    async def find_jobs(self, task_ids: Sequence[str]) -> dict[str, QueuedJob]:
        """Those of the tasks that wait or run."""
        return await self._find_jobs(JOB, task_ids)

    async def _find_jobs(self, prefix: str, task_ids: Sequence[str]) -> dict[str, QueuedJob]:
        if not task_ids:
            return {}
        keys = [prefix + task_id for task_id in task_ids]
        found: list[bytes | None] = await self._ask(self._find(keys=keys, args=[LARGEST_FOUND]))
        return read_jobs(task_ids, found)

    async def result_ids(self, cursor: int = 0) -> tuple[int, list[str]]:
        """Some of the tasks that have a result, and the cursor of the next ones; 0 behind the last. Some come twice."""
        return await self._scan(RESULT, cursor)

    async def job_ids(self, cursor: int = 0) -> tuple[int, list[str]]:
        """Some of the tasks that wait or run, as in `result_ids`."""
        return await self._scan(JOB, cursor)

    async def _scan(self, prefix: str, cursor: int) -> tuple[int, list[str]]:
        following, keys = await self._ask(self.redis.scan(cursor, match=f"{prefix}*", count=SCANNED))
        return following, [key.decode(errors="replace").removeprefix(prefix) for key in keys]

    async def running_among(self, task_ids: Sequence[str]) -> set[str]:
        """Which of the tasks a worker holds."""
        if not task_ids:
            return set()
        found = await self._ask(self.redis.mget([f"arq:in-progress:{task_id}" for task_id in task_ids]))
        return {task_id for task_id, value in zip(task_ids, found, strict=True) if value is not None}

    async def missing_among(self, tasks: Sequence[Entry]) -> list[Entry]:
        """Which of the tasks Redis has lost: no job stands in its queue for the right time, and no worker holds one."""
        if not tasks:
            return []
        parts = [part for task in tasks for part in (task.task_id, queue_name(task.priority), task.due_at_ms or 0)]
        answers: list[int] = await self._ask(self._missing(keys=[], args=[msgspec.msgpack.encode(parts)]))
        return [task for task, missing in zip(tasks, answers, strict=True) if missing]

    async def results_among(self, task_ids: Sequence[str]) -> set[str]:
        """Which of the tasks have a result, of whatever content."""
        return await self._ask(self._results_among(task_ids))

    async def _results_among(self, task_ids: Sequence[str]) -> set[str]:
        async with self.redis.pipeline(transaction=False) as pipe:
            for task_id in task_ids:
                pipe.exists(RESULT + task_id)
            answers = await pipe.execute()
        return {task_id for task_id, is_there in zip(task_ids, answers, strict=True) if is_there}

    async def forget_results(self, task_ids: Collection[str]) -> None:
        """Remove results that others wrote: their tasks have not ended."""
        if task_ids:
            await self._ask(self.redis.unlink(*(RESULT + task_id for task_id in task_ids)))

    async def queue_position(self, task_id: str, priority: int) -> int | None:
        """How many jobs of its queue are due before it; None if it is not waiting there."""
        rank = await self._ask(self.redis.zrank(queue_name(priority), task_id))
        return None if rank is None else int(rank)

    async def depths(self) -> Mapping[int, QueueDepth]:
        """The jobs of each priority."""
        return await self._ask(self._depths())

    async def _depths(self) -> Mapping[int, QueueDepth]:
        now_ms = self._clock()
        async with self.redis.pipeline(transaction=False) as pipe:
            for name in QUEUE_NAMES:
                pipe.zcount(name, "-inf", now_ms)
                pipe.zcount(name, f"({now_ms}", "+inf")
            counts = await pipe.execute()
        return {priority: QueueDepth(counts[2 * n], counts[2 * n + 1]) for n, priority in enumerate(PRIORITIES)}

    async def longest_wait_ms(self) -> int:
        """For how long a job has been due that no worker has taken; 0 if there is none."""
        due_ms: list[int] = await self._ask(self._earliest_scores())
        return max(0, self._clock() - min(due_ms)) if due_ms else 0

    async def _earliest_scores(self) -> list[int]:
        """When the first job of each queue is due; one that a worker has taken, at the end of its lease."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for name in QUEUE_NAMES:
                pipe.zrange(name, 0, 0, withscores=True)
            return [int(score) for head in await pipe.execute() for _, score in head]

    async def workers(self) -> list[dict[str, Any]]:
        """What each living worker last said of itself; see `workers/everpost_workers/upkeep/duties.py`."""
        now_ms = self._clock()
        said = (read_said(value, now_ms) for value in (await self._said())[0].values())
        return [facts for facts in said if facts is not None and facts["until_ms"] > now_ms]

    async def _said(self) -> tuple[dict[bytes, bytes], list[bytes]]:
        """What stands under the names of workers, and the names under which no worker can have written that."""
        limits = [LONGEST_SAID, LONGEST_NAME, MOST_WORKERS]
        answer: list[Any] = await self._ask(self._workers(keys=[WORKERS_KEY], args=limits))
        *found, others = answer
        return dict(zip(found[::2], found[1::2], strict=True)), others

    async def announce_worker(self, worker_id: str, facts: Mapping[str, Any], life_s: float) -> None:
        """Say that a worker is alive, for `life_s` seconds."""
        until_ms = self._clock() + round(life_s * 1000)
        value = msgspec.json.encode({"worker": worker_id, **facts, "until_ms": until_ms}).decode()
        await self._ask(self._put_small(keys=[WORKERS_KEY], args=["HSET", worker_id, value]))

    async def forget_workers(self, worker_ids: Sequence[str | bytes]) -> None:
        """Say that workers have gone."""
        if worker_ids:
            await self._ask(self.redis.hdel(WORKERS_KEY, *cast("Sequence[str]", worker_ids)))

    async def dead_workers(self) -> list[bytes]:
        """Workers that stopped saying anything without a farewell, and what others wrote among the workers."""
        found, others = await self._said()
        now_ms = self._clock()
        said = {field: read_said(value, now_ms) for field, value in found.items()}
        strange = [*others, *(field for field, facts in said.items() if facts is None)]
        if strange:
            log.warning("workers.skipped", fields=len(strange))
        if len(others) >= MOST_WORKERS:
            await self._ask(self.redis.unlink(WORKERS_KEY))  # those that live say so within a second
        return [*strange, *(field for field, facts in said.items() if facts and facts["until_ms"] <= now_ms)]

    async def strange_keys(self) -> Mapping[str, str]:
        """The shared keys that others wrote to, each with what is wrong with it; this changes nothing."""
        now_ms = self._clock()
        wrong: dict[str, str] = {}
        for key, wanted in TYPES.items():
            kind = (await self._ask(self.redis.type(key))).decode()
            if kind not in {"none", wanted}:
                wrong[key] = f"is a {kind} instead of a {wanted}"
            if await self._ask(self.redis.exists(f"{SET_ASIDE}{key}")):
                wrong[f"{SET_ASIDE}{key}"] = "is what stood under that key with the wrong type"
        found, others = await self._said()
        strange = len(others) + sum(read_said(value, now_ms) is None for value in found.values())
        if strange:
            wrong[WORKERS_KEY] = f"has {strange} fields that no worker wrote"
        return wrong

    async def epoch(self, proposed: str) -> str:
        """Which Redis this is: its data set's name (`proposed`, if it has none, as after FLUSHALL) and its process.

        A server that starts again on its file may lack what it knew last, but not its data set's name.
        """
        server = await self._ask(self.redis.info("server"))
        named = await self._ask(self._put_small(keys=[EPOCH_KEY], args=["SET", proposed, "NX"]))
        found: bytes | None = None if named else await self._ask(self.redis.getrange(EPOCH_KEY, 0, LONGEST_NAME))
        if found is not None and EPOCH.fullmatch(found) is None:
            log.warning("epoch.overwritten")
            await self._ask(self._put_small(keys=[EPOCH_KEY], args=["SET", proposed]))
            found = None
        return f"{proposed if found is None else found.decode()}:{server.get('run_id', '')}"

    async def evictions(self) -> int:
        """How many keys this server has dropped for want of memory, which one with the right policy never does."""
        stats = await self._ask(self.redis.info("stats"))
        return int(stats.get("evicted_keys", 0))

    async def add_numbers(self, numbers: Mapping[Field, int]) -> None:
        """Add to the numbers that all processes share. What others wrote in their place is overwritten."""
        spoilt: dict[Field, int] = await self._ask(self._add_numbers(numbers))
        if spoilt:
            written: int = await self._ask(self._put_numbers(spoilt))
            log.warning("metrics.overwritten", fields=len(spoilt), new=written)

    async def _add_numbers(self, numbers: Mapping[Field, int]) -> dict[Field, int]:
        """Add to the numbers; returns those that could not be added to, because something else stands there."""
        async with self.redis.pipeline(transaction=False) as pipe:
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

    async def _put_numbers(self, numbers: Mapping[Field, int]) -> int:
        """Write the numbers over what stands there; how many stood nowhere before."""
        if await self.redis.type(METRICS_KEY) != b"hash":
            await self.redis.delete(METRICS_KEY)
        written = {written_field(field): amount for field, amount in numbers.items()}
        return int(await self.redis.hset(METRICS_KEY, mapping=written))  # type: ignore[misc]  # redis-py types one method for its two clients

    async def numbers(self) -> Iterable[tuple[bytes, bytes]]:
        """The numbers that all processes share, as Redis has them; none if there are absurdly many."""
        if await self._ask(self.redis.type(METRICS_KEY)) != b"hash":
            return ()
        count: int = await self._ask(self.redis.hlen(METRICS_KEY))
        written: dict[bytes, bytes] = await self._ask(self.redis.hgetall(METRICS_KEY)) if count <= MOST_NUMBERS else {}
        return written.items()

    async def memory(self) -> RedisMemory:
        """How full Redis is."""
        memory = await self._ask(self.redis.info("memory"))
        return RedisMemory(used_bytes=int(memory["used_memory"]), max_bytes=int(memory.get("maxmemory", 0)))

    async def shed_results(self, most_bytes: int, most: int) -> tuple[int, int]:
        """Drop the oldest results, up to `most`, until they take `most_bytes`; the bytes left, and how many it dropped.

        The bytes are estimated; results from before there was an index are not among them.
        """
        answer: list[Any] = await self._ask(self._shed(keys=[RESULTS_KEY], args=[most_bytes, most]))
        left_bytes, dropped = answer
        return int(left_bytes), int(dropped)

    async def ping(self) -> bool:
        """Whether Redis answers; what it says does not matter, a PING too is refused while its disk is full."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self.redis.ping()
        except ResponseError:
            return True
        except UNREACHABLE as error:
            self._refusal = refusal_of(error)
            return False
        return True

    async def check_writable(self) -> None:
        """Raise `QueueUnreachable` if Redis refuses writes, as with a full memory or disk; this changes nothing."""
        await self._ask(self.redis.set(f"{EPOCH_KEY}:none", "", xx=True))

    async def facts(self) -> Mapping[str, Any]:
        """What `doctor` and the logs say of the server: version, eviction policy, persistence."""
        server = await self._ask(self.redis.info("server"))
        memory = await self._ask(self.redis.info("memory"))
        persistence = await self._ask(self.redis.info("persistence"))
        return {
            "version": str(server["redis_version"]),
            "server": f"{server.get('server_name', 'redis')} {server.get('valkey_version', server['redis_version'])}",
            "maxmemory_policy": memory.get("maxmemory_policy"),
            "append_only_file": bool(persistence.get("aof_enabled")),
        }

    async def _ask(self, request: Awaitable[Answer] | Answer) -> Answer:
        request = cast("Coroutine[Any, Any, Answer]", request)  # redis-py types one method for its two clients
        if self._breaker.is_open:
            request.close()
            raise self._away()
        try:
            async with asyncio.timeout(ANSWER_S):
                return await request
        except ResponseError as error:
            if is_wrong_type(error) and self._may_repair:
                await self._repair()
            raise QueueUnreachable(str(error)) from error
        except UNREACHABLE as error:
            self._refusal = refusal_of(error)
            self._breaker.trip(None if self._refusal is None else self._refusal.words)
            raise self._away() from error

    def _away(self) -> QueueUnreachable:
        """Why Redis is left alone: it does not answer, or takes no connection of ours."""
        if self._refusal is None:
            return QueueUnreachable()
        return QueueUnreachable(self._refusal.words, is_password=self._refusal.is_password)

    async def _repair(self) -> None:
        with contextlib.suppress(*UNREACHABLE):
            async with asyncio.timeout(ANSWER_S):
                await set_aside(self.redis, TYPES)
