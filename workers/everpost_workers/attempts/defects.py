"""Logs publishers that raise something other than a `PublishError`: most likely a bug, which its author must see."""

import traceback

import structlog

from everpost.known_secrets import CURRENT
from everpost.publishing import PublishError, PublishJob
from everpost.publishing.raised import is_a, message_of

log = structlog.get_logger("everpost.worker")

LONGEST_TRACE = 16_384  # characters; of a longer traceback, the end (where and what) and some of the beginning are kept
LONGEST_ACCOUNT = 200


def tell_of_defect(error: BaseException, job: PublishJob) -> None:
    """Log what a publisher raised, and where, without secrets; a `PublishError` is meant and not logged."""
    if is_a(error, PublishError):
        return
    account_id = job.data.get("account_id")
    log.error(
        "publish.crashed",
        task_id=job.task_id,
        platform=job.platform.name,
        account_id=None if account_id is None else str(account_id)[:LONGEST_ACCOUNT],
        attempt=job.attempt,
        error=CURRENT.get().hide(message_of(error)),
        exception=trace_of(error),
    )


def trace_of(error: BaseException) -> str:
    """The traceback without values of variables, of bounded length; an exception's own methods may fail here."""
    try:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip("\n")
    except BaseException:  # noqa: BLE001 - foreign methods
        trace = "".join(traceback.format_tb(error.__traceback__)) + message_of(error)
    trace = CURRENT.get().hide(trace)
    if len(trace) <= LONGEST_TRACE:
        return trace
    head = LONGEST_TRACE // 8
    return f"{trace[:head]}\n...\n{trace[head - LONGEST_TRACE :]}"
