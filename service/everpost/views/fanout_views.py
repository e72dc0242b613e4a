"""A fan-out with the state of each account's newest task, and the status of all of them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from everpost.errors import FanoutNotFound, QueueUnreachable
from everpost.queue.jobs import Jobs
from everpost.store.batches import Batch, Batches, ChainEnd
from everpost.task.fanout_rules import REJECTED, FanoutItem, FanoutStatus, count_statuses, status_of
from everpost.task.model import UNFINISHED, TaskStatus

PURGED = "purged"  # the account's tasks are destroyed


class FanoutAccountView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An account of a fan-out.

    Attributes:
        status: That of its newest task; `rejected` if no task was accepted for it, `purged` if its tasks are destroyed.
        task_id: Its newest task.
        first_task_id: Its first task, if it was retried.
        retries: How often it was retried.
        code: Why it was rejected.
        path: Which value of the request was at fault.
        earlier_task_id: The task with the same content, if it was rejected as a duplicate.
    """

    index: int
    status: str
    platform: str | None = None
    account_id: str | None = None
    task_id: str | None = None
    first_task_id: str | None = None
    retries: int = 0
    error_class: str | None = None
    error_message: str | None = None
    provider_post_id: str | None = None
    publish_url: str | None = None
    code: str | None = None
    message: str | None = None
    path: str | None = None
    earlier_task_id: str | None = None


class FanoutView(msgspec.Struct, frozen=True, kw_only=True):
    """A fan-out.

    Attributes:
        counts: How many accounts have each status.
    """

    fanout_id: str
    status: FanoutStatus
    created_at: str
    total: int
    counts: Mapping[str, int]
    accounts: Sequence[FanoutAccountView]


class FanoutViews:
    """Looks fan-outs up. While Redis is away, tasks are shown as the store has them."""

    def __init__(self, batches: Batches, jobs: Jobs) -> None:
        self._batches = batches
        self._jobs = jobs

    async def show(self, fanout_id: str) -> FanoutView:
        """One fan-out.

        Raises:
            FanoutNotFound: There is no fan-out with this id.
        """
        found = await self._batches.find(fanout_id)
        if found is None:
            raise FanoutNotFound(fanout_id)
        batch, ends = found
        return fanout_view(batch, ends, await self._running_among(ends))

    async def _running_among(self, ends: Sequence[ChainEnd]) -> Collection[str]:
        unfinished = [end.task_id for end in ends if end.status in UNFINISHED]
        try:
            return await self._jobs.running_among(unfinished) if unfinished else ()
        except QueueUnreachable:
            return ()


def fanout_view(batch: Batch, ends: Sequence[ChainEnd], running: Collection[str]) -> FanoutView:
    """The fan-out as it is shown; `running` are the tasks that a worker holds."""
    by_chain = {end.chain_id: end for end in ends}
    accounts = [_account_view(item, by_chain.get(item.task_id or ""), running) for item in batch.items]
    statuses = Counter(account.status for account in accounts)
    without_task = statuses[REJECTED] + statuses[PURGED]
    shown = [account.status for account in accounts if account.status not in {REJECTED, PURGED}]
    return FanoutView(
        fanout_id=batch.batch_id,
        status=status_of(shown, without_task),
        created_at=batch.created_at,
        total=len(accounts),
        counts=count_statuses(shown, statuses[REJECTED]),
        accounts=accounts,
    )


def _account_view(item: FanoutItem, end: ChainEnd | None, running: Collection[str]) -> FanoutAccountView:
    known: dict[str, Any] = {"index": item.index, "platform": item.platform, "account_id": item.account_id}
    if item.task_id is None:
        why = {name: getattr(item, name) for name in ("code", "message", "path", "earlier_task_id")}
        return FanoutAccountView(**known, **why, status=REJECTED)
    if end is None:
        return FanoutAccountView(**known, status=PURGED, task_id=item.task_id)
    return FanoutAccountView(
        **known,
        status=TaskStatus.RUNNING if end.task_id in running else end.status,
        task_id=end.task_id,
        first_task_id=item.task_id if end.task_id != item.task_id else None,
        retries=end.generation,
        error_class=end.error_class,
        error_message=end.error_message,
        provider_post_id=end.provider_post_id,
        publish_url=end.publish_url,
    )
