"""Checks that the work is complete: every task is counted in the store before a rate is reported."""

import asyncio
import time
from collections.abc import Sequence

from everpost.bench.load import LoadReport
from everpost.errors import ServiceError
from everpost.store.measured import Look, MeasuredStore

LOOK_EVERY_S = 0.003
PATIENCE_S = 60.0  # the longest wait without progress


class WorkIncomplete(ServiceError):
    """The measured work was not complete, so its rate is not reported."""

    code = "work_incomplete"

    def __init__(self, what: str) -> None:
        super().__init__(f"No rate is reported, because the work was not complete: {what}.")


async def wait_for_ends(look: Look, platform: str, status: str, wanted: int) -> list[tuple[float, int]]:
    """Wait until the history has `wanted` tasks; return the counts seen, each with its monotonic time.

    Raises:
        WorkIncomplete: There was no progress for `PATIENCE_S`, or there are more tasks than wanted.
    """
    seen = [(time.monotonic(), look.count_ended(platform, status))]
    while seen[-1][1] < wanted:
        await asyncio.sleep(LOOK_EVERY_S)
        now_s, found = time.monotonic(), look.count_ended(platform, status)
        if found != seen[-1][1]:
            seen.append((now_s, found))
        elif now_s - seen[-1][0] > PATIENCE_S:
            break
    if seen[-1][1] != wanted:
        raise WorkIncomplete(f"{seen[-1][1]} of {wanted} tasks were recorded")
    return seen


def check_answers(report: LoadReport, count: int) -> None:
    """Check that there are `count` right answers.

    Raises:
        WorkIncomplete: An answer was wrong, is missing, or has another answer's id.
    """
    if report.wrong:
        raise WorkIncomplete(f"{report.wrong} of {count} answers were wrong, such as {report.example[:300]!r}")
    if len(report.waits_s) != count or (report.ids and len(set(report.ids)) != count):
        raise WorkIncomplete(f"{len(report.waits_s)} answers with {len(set(report.ids))} ids came for {count} requests")


def check_recorded(store: MeasuredStore, ids: Sequence[str], status: str = "success") -> None:
    """Check that the history has each task once, with this status, after one attempt.

    Raises:
        WorkIncomplete: Some are lost, unfinished or repeated.
    """
    with store.look() as look:
        found = look.recorded(ids, status)
    if not found.rows == found.tasks == found.attempts == len(ids):
        raise WorkIncomplete(
            f"of {len(ids)} tasks {found.tasks} are recorded as {status}, in {found.rows} rows and with "
            f"{found.attempts} attempts"
        )


def check_queued(store: MeasuredStore, ids: Sequence[str]) -> None:
    """Check that the ledger has each task.

    Raises:
        WorkIncomplete: Some are lost.
    """
    with store.look() as look:
        found = look.count_queued(ids)
    if found != len(ids):
        raise WorkIncomplete(f"of {len(ids)} accepted tasks the ledger has {found}")
