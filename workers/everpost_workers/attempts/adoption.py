"""Jobs of stock arq clients: which become tasks, and why the others do not."""

import hashlib
from typing import Any

from everpost.errors import BadInput
from everpost.queue.codec import adopted_task, encoded_data, is_pickle, priority_of, publish_arguments
from everpost.task.callbacks import is_callback
from everpost.task.model import MAX_ID, Task, is_task_id
from everpost.task.submission import decode_json, encode_json
from everpost_workers.engine import Claim, OutcomeReason

UNREADABLE = frozenset({OutcomeReason.EXPIRED, OutcomeReason.UNDECODABLE, OutcomeReason.UNKNOWN_FUNCTION})
"""Ends of jobs whose message contains nothing that could be published."""


def adoptable_task(claim: Claim[Any], now_ms: int, max_body: int) -> Task | str | None:
    """The task that a stock client's job asks for; the reason if it is refused; None if the job cannot be read.

    As far as safety needs it, the rules of POST /publish apply: size, depth, NUL, and ids that fit into routes.
    """
    if claim.ends_as in UNREADABLE:
        return None
    if not is_task_id(claim.job_id):
        return f"Its job id is not 1 to {MAX_ID} printable characters: {claim.job_id[:MAX_ID]!r}"
    if is_callback(claim.job_id):
        return "Its job id is that of a callback, which only Everpost itself makes."
    arguments = publish_arguments(claim.args, claim.kwargs)
    try:
        task_data = encoded_data(arguments.get("task_data"))
        if len(task_data) > max_body:
            return f"Its data has {len(task_data):,} bytes, more than EVERPOST_MAX_BODY ({max_body:,})."
        encode_json(decode_json(task_data))
    except BadInput as error:
        return error.message
    return adopted_task(
        claim.job_id,
        task_data,
        priority=priority_of(arguments),
        created_at_ms=min(claim.enqueue_time_ms, now_ms),  # the relay passes over tasks dated in the future
        from_pickle=claim.payload is not None and is_pickle(claim.payload),
    )


def task_id_of(job_id: str) -> str:
    """The id of a job in the history: its own, or a digest if no route can take it."""
    if is_task_id(job_id):
        return job_id
    return f"arq-{hashlib.sha256(job_id.encode(errors='surrogateescape')).hexdigest()[:32]}"
