"""The checks of `everpost doctor` in Redis: the server, the queue, the workers, and whether the relay keeps up."""

from collections.abc import Mapping, Sequence
from typing import Any

from everpost.cli.gate_checkup import check_parked
from everpost.cli.uplock import UpFacts
from everpost.clock import Clock, system_clock
from everpost.errors import QueueUnreachable, ServiceError
from everpost.findings import NEAR_MS, Finding, clock_finding, size_text
from everpost.queue.keys import WORKERS_KEY
from everpost.queue.redis_server import Opinion, RedisMemory
from everpost.queue.task_queue import TaskQueue
from everpost.queue.workers import with_other_database
from everpost.settings import Settings
from everpost.store import Store, maintenance_of
from everpost.store.meta import IDENTITY
from everpost.store.pause import find_pause
from everpost.task.model import QueueEntry

OLDEST_REDIS = (6, 2)  # the first with ZRANGE BYSCORE, which claims need
LATE_MS = 10_000  # the relay looks at a task before this age
LOOKED_AT = 1_000
RELAY_FAILS = "Tasks that Redis loses now must wait. This is a defect of Everpost: the log has the traceback."


async def check_redis(settings: Settings, running: UpFacts | None, clock: Clock | None = None) -> list[Finding]:
    """Whether Redis answers, how it is set up, which workers there are, and whether jobs are missing.

    Args:
        clock: Used instead of the store's.
    """
    address = settings.redis or (running.redis if running else None)
    if address is None:
        told = "EVERPOST_REDIS is not set, and no `everpost up` with its own Redis runs on this folder"
        return [Finding("Redis", "server", told)]
    store = await _open_store(settings.database_address)
    try:
        clock = clock or (system_clock if store is None else store.meta.now_ms)
        return await _check_redis(settings, address, store, clock)
    finally:
        if store is not None:
            await store.close()


async def _check_redis(settings: Settings, address: str, store: Store | None, clock: Clock) -> list[Finding]:
    queue = TaskQueue.connect(address, clock, may_repair=False)
    sentinels = sentinel_findings(await queue.server.opinions())
    found: list[Finding] = []
    try:
        found += await _server_findings(queue)
        found.append(await _key_finding(queue))
        found += await _queue_findings(queue)
        found += await check_parked(settings, store, queue, clock)
        workers = await queue.workers.living()
        waiting = [] if store is None else await _expected_tasks(store, clock())
        lost = await queue.losses.missing_among(waiting)
    except QueueUnreachable as error:
        return [*sentinels, *found, _unreachable_finding(error, is_first=not found)]
    finally:
        await queue.close()
    database_id = None if store is None else await _identity(store)
    return [
        *sentinels,
        *found,
        *worker_findings(workers, database_id),
        relay_finding(lost, workers, clock()),
    ]


async def _identity(store: Store) -> str | None:
    """The database's identity; None if no process has used it yet."""
    try:
        return await store.meta.get(IDENTITY)
    except ServiceError:
        return None


async def _open_store(address: str) -> Store | None:
    """The store; None if it cannot be used, which its inspection has reported."""
    try:
        return await maintenance_of(address).open_current()
    except ServiceError:
        return None


def _unreachable_finding(error: QueueUnreachable, *, is_first: bool) -> Finding:
    if not is_first:
        return Finding("Redis", "queue", "cannot be looked at", ok=False, advice=error.message)
    told = "refuses the password" if error.is_password else "refuses" if error.refusal else "does not answer"
    advice = f"{error.message} Tasks are still accepted, and run when it is back."
    return Finding("Redis", "server", told, ok=False, advice=advice)


async def _key_finding(queue: TaskQueue) -> Finding:
    wrong = await queue.server.keys_of_wrong_type()
    if strange := await queue.workers.count_strange():
        wrong[WORKERS_KEY] = f"has {strange} fields that no worker wrote"
    if not wrong:
        return Finding("Redis", "keys", "as written", ok=True)
    told = "; ".join(f"{key} {what}" for key, what in wrong.items())
    advice = "Other programs write to this Redis. Workers skip, move or overwrite such keys; delete the moved ones."
    return Finding("Redis", "keys", told, ok=False, advice=advice)


async def _expected_tasks(store: Store, now_ms: int) -> list[QueueEntry]:
    """The oldest tasks that a worker should have claimed or put into Redis by now; empty if that cannot be told."""
    try:
        if await find_pause(store.meta) is not None:
            return []
        return (await store.relay.page(None, now_ms - LATE_MS, LOOKED_AT)).entries
    except ServiceError:
        return []


async def _server_findings(queue: TaskQueue) -> list[Finding]:
    facts = await queue.server.facts()
    policy, has_file = str(facts["maxmemory_policy"]), bool(facts["append_only_file"])
    is_new = tuple(int(part) for part in facts["version"].split(".")[:2]) >= OLDEST_REDIS
    policy_advice = "" if policy == "noeviction" else "Set `maxmemory-policy noeviction`, or Redis drops waiting tasks."
    file_advice = "" if has_file else "Set `appendonly yes`: without it, a restart empties the queue for some time."
    return [
        Finding("Redis", "server", str(facts["server"]), is_new, "" if is_new else "Redis 6.2 or newer is needed."),
        Finding("Redis", "maxmemory-policy", policy, not policy_advice, policy_advice),
        Finding("Redis", "append-only file", "on" if has_file else "off", has_file, file_advice),
        memory_finding(await queue.server.memory()),
        await _write_finding(queue),
        clock_finding("Redis", await queue.server.now_ms() - system_clock(), "this host's"),
    ]


def sentinel_findings(opinions: Sequence[Opinion]) -> list[Finding]:
    """Whether enough Sentinels answer, agree about the master, and have a replica that can take its place."""
    if not opinions:
        return []
    told = [opinion for opinion in opinions if opinion.master is not None]
    masters = sorted({str(opinion.master) for opinion in told})
    name = f"{len(told)} of {len(opinions)} answer, master {' or '.join(masters) or 'unknown'}"
    refusals = sorted({opinion.refusal for opinion in opinions if opinion.refusal})
    return [Finding("Redis", "Sentinels", name, *_advice_on_sentinels(told, opinions, refusals))]


def _advice_on_sentinels(
    told: Sequence[Opinion], opinions: Sequence[Opinion], refusals: Sequence[str]
) -> tuple[bool, str]:
    if refusals:
        return False, f"A Sentinel says: {refusals[0]}"
    if len(told) <= len(opinions) // 2:
        return False, "Most do not answer, so no replica can take over."
    if len({opinion.master for opinion in told}) > 1:
        return (
            False,
            "They disagree. That lasts for seconds after a failover; otherwise one is cut off from the others.",
        )
    if not any(opinion.is_up for opinion in told):
        return False, "They see that the master is down. If no replica takes over, look at their logs."
    if not any(opinion.replicas for opinion in told):
        return False, "There is no replica that could take over."
    return True, ""


def memory_finding(memory: RedisMemory) -> Finding:
    """How full Redis is."""
    used = size_text(memory.used_bytes)
    if not memory.max_bytes:
        return Finding("Redis", "memory", f"{used}, no maxmemory", ok=True)
    told = f"{used} of {size_text(memory.max_bytes)} ({memory.share:.0%})"
    advice = "Give it a larger maxmemory, or start more workers: waiting tasks fill it." if memory.is_filling else ""
    return Finding("Redis", "memory", told, not memory.is_filling, advice)


async def _write_finding(queue: TaskQueue) -> Finding:
    try:
        await queue.server.check_writable()
    except QueueUnreachable as error:
        advice = f"{error.message} Tasks are still accepted; give it the memory or disk space it lacks."
        return Finding("Redis", "writes", "refused", ok=False, advice=advice)
    return Finding("Redis", "writes", "taken", ok=True)


async def _queue_findings(queue: TaskQueue) -> list[Finding]:
    depths = (await queue.jobs.depths()).values()
    wait_s = await queue.jobs.longest_wait_ms() / 1000
    return [
        Finding(
            "Redis", "queue", f"{sum(d.ready for d in depths)} due or running, {sum(d.later for d in depths)} later"
        ),
        Finding("Redis", "longest wait", f"{wait_s:,.0f} s past due, not taken by a worker" if wait_s else "none"),
    ]


def worker_findings(workers: Sequence[Mapping[str, Any]], database_id: str | None = None) -> list[Finding]:
    """What the living workers report about themselves.

    Args:
        database_id: The identity of the database of these settings, if known.
    """
    slots = sum(int(worker.get("slots", 0)) for worker in workers)
    running = sum(int(worker.get("running", 0)) for worker in workers)
    advice = "" if workers else "Nothing runs until one is started: `everpost worker`."
    found = [Finding("workers", "alive", f"{len(workers)}, running {running} of {slots} tasks", bool(workers), advice)]
    idle = [str(worker["worker"]) for worker in workers if not worker.get("consuming")]
    if workers:
        advice = f"They are alive but take no tasks: {', '.join(idle)}." if idle else ""
        found.append(Finding("workers", "consuming", str(len(workers) - len(idle)), not idle, advice))
        found.append(_leader_finding(workers))
    if strangers := with_other_database(workers, database_id):
        told = f"another one than that of these settings: {', '.join(strangers)}"
        advice = (
            "Their EVERPOST_DATABASE must be the same. Stop them: they run tasks and record the outcomes elsewhere."
        )
        found.append(Finding("workers", "database", told, ok=False, advice=advice))
    found += [
        clock_finding("workers", ahead_ms, f"the database's, on the host of {worker['worker']}")
        for worker in workers
        if abs(ahead_ms := int(worker.get("clock_ahead_ms", 0))) >= NEAR_MS
    ]
    troubled = [f"{worker['worker']}: {worker['trouble']}" for worker in workers if worker.get("trouble")]
    found += [Finding("workers", "trouble", told, ok=False, advice="Outcomes wait.") for told in troubled]
    found += [
        Finding("workers", "relay", f"{worker['worker']}: {worker['relay_trouble']}", ok=False, advice=RELAY_FAILS)
        for worker in workers
        if worker.get("relay_trouble")
    ]
    return found


def _leader_finding(workers: Sequence[Mapping[str, Any]]) -> Finding:
    leaders = [str(worker["worker"]) for worker in workers if worker.get("leads")]
    if len(leaders) > 1:
        told = f"{len(leaders)} lead it: {', '.join(leaders)}"
        advice = "One worker leads the upkeep of a database: these use several databases with one Redis."
        return Finding("workers", "upkeep", told, ok=False, advice=advice)
    if not leaders:
        return Finding("workers", "upkeep", "no worker leads it", advice="One begins to within twelve seconds.")
    return Finding("workers", "upkeep", f"led by {leaders[0]}", ok=True)


def relay_finding(lost: Sequence[QueueEntry], workers: Sequence[Mapping[str, Any]], now_ms: int) -> Finding:
    """How many tasks of the ledger are missing in Redis, and for how long."""
    if not lost:
        return Finding("workers", "relay lag", "none", ok=True)
    age_s = (now_ms - min(task.created_at_ms for task in lost)) / 1000
    told = f"{len(lost)} of the {LOOKED_AT:,} oldest tasks are not in Redis, the first for {age_s:,.0f} s"
    advice = "A worker puts them back within seconds." if workers else "No worker is running to put them back."
    return Finding("workers", "relay lag", told, ok=False, advice=advice)
