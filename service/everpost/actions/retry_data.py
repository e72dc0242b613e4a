"""Finds what a retry needs and a store's lock leaves out: Redis's jobs, large data, and messages of stock clients."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
import structlog

from everpost.errors import BadInput, InvalidValue, QueueUnreachable, ServiceError, TaskUnreadable
from everpost.queue.codec import job_in
from everpost.queue.task_queue import TaskQueue
from everpost.store.account_zones import AccountZones, KnownZones
from everpost.task.candidate import Candidate, StoredData
from everpost.task.edits import PATH
from everpost.task.merge_patch import merge_patch
from everpost.task.model import MAX_ID, is_task_id
from everpost.task.queued_job import QueuedJob
from everpost.task.retry_plan import NOTHING_KNOWN, REDIS, Known, Made, RetryPlan, choose_data
from everpost.task.submission import Submission, decode_json, decoded_data, encode_json

Named: TypeAlias = Callable[[Submission], Awaitable[None]]
"""Checks that the store has what a submission names; raises `ServiceError`."""

log = structlog.get_logger("everpost.recovery")


async def ask_redis(queue: TaskQueue, task_ids: Sequence[str]) -> dict[str, Known]:
    """What Redis has of tasks: ended ones for `EVERPOST_RESULT_TTL` seconds. If it does not answer, it has nothing."""
    jobs: Mapping[str, QueuedJob | None] = {}
    try:
        if len(task_ids) == 1:  # joins one request with those of other callers
            jobs = {task_ids[0]: await queue.jobs.find_task(task_ids[0])}
        elif task_ids:
            jobs = await queue.jobs.find_tasks(task_ids)
    except QueueUnreachable:
        log.warning("task.tier_unreachable", task_id=task_ids[0], tasks=len(task_ids), source=REDIS)
    return {task_id: Known(jobs.get(task_id)) for task_id in task_ids}


async def look(
    queue: TaskQueue,
    plan: RetryPlan,
    candidates: Sequence[Candidate],
    zones: AccountZones | None = None,
    named: Named | None = None,
) -> RetryPlan:
    """The plan with new tasks made from what the store has, and what Redis has if that is not whole.

    Args:
        zones: Finds the time zones of accounts.
        named: Checks what edited data names.
    """
    known_zones: KnownZones = {}
    unasked = [one.task_id for one in candidates if one.task_id not in plan.known and not one.is_whole]
    known = {**plan.known, **await ask_redis(queue, unasked)}
    for candidate in candidates:
        found = known.get(candidate.task_id, NOTHING_KNOWN)
        if candidate.position is not None or found.job is not None:
            placed = plan if zones is None else await _with_zone(plan, candidate, found.job, zones, known_zones)
            made = _make(placed, candidate, found.job)
            if named is not None and isinstance(made, Made) and made.edited is not None:
                made = await _check_named(named, made, made.edited, PATH if plan.edit is None else plan.edit.path)
            known[candidate.task_id] = msgspec.structs.replace(found, made=made)
    return msgspec.structs.replace(plan, known=known)


async def _check_named(named: Named, made: Made, edited: Submission, path: str) -> Made | ServiceError:
    """The new task; or the error, if the files or the account are not there that its edited data names."""
    try:
        await named(edited)
    except InvalidValue as error:
        error.path = path + error.path.removeprefix("$")
        return error
    except ServiceError as error:
        return error
    return made


async def _with_zone(
    plan: RetryPlan, candidate: Candidate, job: QueuedJob | None, zones: AccountZones, known: KnownZones
) -> RetryPlan:
    """The plan with the zone of the task's account; data that cannot be read has none."""
    chosen = choose_data(candidate, job)
    try:
        data = decoded_data(b"" if chosen is None else chosen.task_data)
        zone = await zones.of_data(data if plan.edit is None else merge_patch(data, plan.edit.patch), known)
    except InvalidValue:
        return plan
    return plan if zone is None else msgspec.structs.replace(plan, zone=zone)


def _make(plan: RetryPlan, candidate: Candidate, job: QueuedJob | None) -> Made | ServiceError:
    try:
        if candidate.data is not None and candidate.data.raw_job is not None:
            data = _read_raw_job(candidate.task_id, candidate.data, candidate.data.raw_job)
            candidate = msgspec.structs.replace(candidate, data=data)
        if candidate.position is None and job is not None and job.task_data:
            _check_job(candidate.task_id, job.task_data)
    except ServiceError as error:
        return error
    return plan.make(candidate, job)


def _read_raw_job(task_id: str, data: StoredData, raw_job: bytes) -> StoredData | None:
    """The data in a stock arq client's message. A newer version may read what an older one could not."""
    try:
        job = job_in(raw_job)
        encode_json(decode_json(job.task_data or b"null"))
    except ValueError as error:
        raise TaskUnreadable(task_id, str(error)) from error
    except BadInput as error:
        raise TaskUnreadable(task_id, error.message.rstrip(".")) from error
    if not job.task_data:
        return None
    return msgspec.structs.replace(data, task_data=job.task_data, priority=job.priority, raw_job=None)


def _check_job(task_id: str, task_data: bytes) -> None:
    """Check that a stock arq client's job that only Redis has can become a task.

    These are the rules by which a worker refuses such a job, except for its size.

    Raises:
        TaskUnreadable: It cannot.
    """
    if not is_task_id(task_id):
        raise TaskUnreadable(task_id, f"its id is not 1 to {MAX_ID} printable characters")
    try:
        encode_json(decode_json(task_data))
    except BadInput as error:
        raise TaskUnreadable(task_id, error.message.rstrip(".")) from error
