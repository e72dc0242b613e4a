"""Finds a task and its data for a retry: in Redis, or in the store, which keeps every task for ever."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec
import structlog

from everpost.errors import BadInput, QueueUnreachable, ServiceError, TaskUnreadable
from everpost.queue.codec import job_in
from everpost.queue.task_queue import TaskQueue
from everpost.store.changes import Candidate, Changes
from everpost.task.model import DEFAULT_PRIORITY, MAX_ID, TaskStatus, is_task_id
from everpost.task.place import Place, Position
from everpost.task.queued_job import QueuedJob
from everpost.task.submission import decode_json, encode_json

log = structlog.get_logger("everpost.recovery")

REDIS = "redis"
ORIGINS = {REDIS: "Redis", "sqlite": "SQLite history", "task_queue": "task_queue", "archive": "the archive"}
"""The names of the data's sources in messages."""

SOURCES = {Place.HISTORY: "sqlite", Place.LEDGER: "task_queue", Place.ARCHIVE: "archive"}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A task to retry, as a tier has it.

    Attributes:
        position: Its position; for a task that only Redis has, a stand-in for the rule.
        task_data: Empty if the tier has none.
        is_rebuilt: The data was rebuilt from single columns.
        differs: Redis has other data than the store; the store's data is used.
        refusal: Why its data cannot be published.
        unrecorded: Its job, if only Redis has the task.
    """

    position: Position
    relatives: Sequence[Position] = ()
    source: str
    task_data: bytes = b""
    priority: int = DEFAULT_PRIORITY
    is_rebuilt: bool = False
    differs: bool = False
    refusal: ServiceError | None = None
    unrecorded: QueuedJob | None = None

    @property
    def is_whole(self) -> bool:
        """Whether no other tier could have better data."""
        return self.refusal is not None or (bool(self.task_data) and not self.is_rebuilt)


class Tier(Protocol):
    """A place that may have tasks and their data."""

    async def find(self, task_ids: Sequence[str]) -> Mapping[str, Found]:
        """Those of the given tasks that this tier has."""


class RedisTier:
    """Redis, which keeps an ended task for `EVERPOST_RESULT_TTL` seconds. If it does not answer, it has nothing."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue

    async def find(self, task_ids: Sequence[str]) -> Mapping[str, Found]:
        """Find them in the results, or in the jobs."""
        try:
            if len(task_ids) == 1:  # joins one request with those of other callers
                job = await self._queue.jobs.find_task(task_ids[0])
                jobs = {} if job is None else {task_ids[0]: job}
            else:
                jobs = await self._queue.jobs.find_tasks(task_ids)
        except QueueUnreachable:
            log.warning("task.tier_unreachable", task_id=task_ids[0], tasks=len(task_ids), source=REDIS)
            return {}
        return {task_id: _found_in_redis(task_id, job) for task_id, job in jobs.items()}


class StoreTier:
    """The store, which keeps every task for ever: in the history, the ledger or the archive."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def find(self, task_ids: Sequence[str]) -> Mapping[str, Found]:
        """Find them in the places of `everpost.store.changes.DATA_ORDER`."""
        candidates = await self._changes.find(task_ids, whole=True)
        return {
            candidate.task_id: _found_in_store(candidate, candidate.position)
            for candidate in candidates
            if candidate.position is not None
        }


def _found_in_redis(task_id: str, job: QueuedJob) -> Found:
    statuses = {None: TaskStatus.PENDING, True: TaskStatus.SUCCESS, False: TaskStatus.FAILED}
    # A waiting task is withdrawn as if it were in the ledger.
    place = Place.LEDGER if job.success is None else Place.HISTORY
    return Found(
        position=Position(task_id=task_id, place=place, status=statuses[job.success], chain_id=task_id),
        source=REDIS,
        task_data=job.task_data or b"",
        priority=job.priority,
        unrecorded=job,
    )


def _found_in_store(candidate: Candidate, position: Position) -> Found:
    data = candidate.data
    if data is None:
        return Found(position=position, relatives=candidate.relatives, source=SOURCES[position.place])
    task_data, priority, refusal = data.task_data, data.priority, None
    if data.raw_job is not None:
        task_data, priority, refusal = _read_raw_job(candidate.task_id, data.raw_job)
    return Found(
        position=position,
        relatives=candidate.relatives,
        source=SOURCES[data.place],
        task_data=task_data,
        priority=priority,
        is_rebuilt=data.is_rebuilt,
        refusal=refusal,
    )


def _read_raw_job(task_id: str, raw_job: bytes) -> tuple[bytes, int, TaskUnreadable | None]:
    """The data and priority in a stock arq client's message. A newer version may read what an older one could not."""
    try:
        job = job_in(raw_job)
        encode_json(decode_json(job.task_data or b"null"))
    except ValueError as error:
        return b"", DEFAULT_PRIORITY, TaskUnreadable(task_id, str(error))
    except BadInput as error:
        return b"", DEFAULT_PRIORITY, TaskUnreadable(task_id, error.message.rstrip("."))
    return job.task_data or b"", job.priority, None


def refusal_of_job(task_id: str, task_data: bytes) -> TaskUnreadable | None:
    """Why a stock arq client's job that only Redis has cannot become a task; None if it can.

    These are the rules by which a worker refuses such a job, except for its size.
    """
    if not is_task_id(task_id):
        return TaskUnreadable(task_id, f"its id is not 1 to {MAX_ID} printable characters")
    try:
        encode_json(decode_json(task_data))
    except BadInput as error:
        return TaskUnreadable(task_id, error.message.rstrip("."))
    return None


Tiers: TypeAlias = tuple[Tier, Tier]
"""Redis, then the store. An answer names the first that has the task; the data of the store wins."""


def retry_tiers(queue: TaskQueue, changes: Changes) -> Tiers:
    """The tiers of a retry."""
    return (RedisTier(queue), StoreTier(changes))


async def find_in_tiers(tiers: Tiers, task_ids: Sequence[str], *, names_redis: bool) -> dict[str, Found]:
    """Those of the given tasks that a tier has.

    Args:
        names_redis: Ask Redis about every task, because the answer names the tier. Otherwise Redis is asked only about
            tasks whose data the store does not have whole.
    """
    redis, store = tiers
    if names_redis:
        # The store first: its thread wakes up while this one writes to Redis.
        found, in_redis = await asyncio.gather(store.find(task_ids), redis.find(task_ids))
        stored = dict(found)
    else:
        stored = dict(await store.find(task_ids))
        left = [task_id for task_id in task_ids if task_id not in stored or not stored[task_id].is_whole]
        in_redis = await redis.find(left) if left else {}
    missing = [task_id for task_id in task_ids if task_id not in stored and task_id not in in_redis]
    if missing:  # a task that left Redis between the two looks is in the store by now (I3)
        stored |= await store.find(missing)
    return stored | {task_id: merged(found, stored.get(task_id)) for task_id, found in in_redis.items()}


def merged(in_redis: Found, stored: Found | None) -> Found:
    """The data for a retry of a task that Redis has. The store's data wins, but the answer names Redis.

    Other programs can write to Redis. Only data that the store had to rebuild gives way to whole data from Redis.
    """
    if stored is None:
        return in_redis
    if not stored.is_whole and in_redis.task_data:
        return msgspec.structs.replace(in_redis, position=stored.position, relatives=stored.relatives, unrecorded=None)
    differs = stored.refusal is None and in_redis.task_data not in {b"", stored.task_data}
    return msgspec.structs.replace(stored, source=REDIS, differs=differs)
