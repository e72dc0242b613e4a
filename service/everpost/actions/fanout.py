"""Fan-outs: one content becomes a task for each account; later, the failures are retried, or the rest is cancelled."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import structlog

from everpost.actions.bulk import Bulk, BulkAnswer, BulkKind, BulkRequest
from everpost.actions.publish import Acceptance, guards_of
from everpost.clock import Clock, to_text
from everpost.errors import BadInput, DuplicatePost, FanoutNotFound, InvalidValue
from everpost.store.batches import Accepted, Batch, Batches, BatchKind, ChainEnd, Posted, Posting
from everpost.store.ledger import FirstAnswer, IdempotencyKey
from everpost.task.fanout_rules import FanoutItem, is_failure, is_unfinished, merged_items, place_fault
from everpost.task.model import Task, new_task_id
from everpost.task.submission import Submission, SubmissionReader

log = structlog.get_logger("everpost.intake")

SHOWN = 256  # characters of an account's name

AnswerOf: TypeAlias = Callable[[str, Sequence[FanoutItem], Sequence[Task]], FirstAnswer]
"""The answer to a client: given the fan-out's id, its accounts, and the tasks that were accepted."""

Read: TypeAlias = Callable[[Any], Awaitable[Submission]]
"""Reads a task's decoded data; raises `BadInput` if it is not valid, or names something that is not there."""


class Fanouts:
    """Posts, retries and cancels fan-outs."""

    def __init__(
        self,
        batches: Batches,
        acceptance: Acceptance,
        reader: SubmissionReader,
        bulk: Bulk,
        clock: Clock,
    ) -> None:
        self._batches = batches
        self._acceptance = acceptance
        self._reader = reader
        self._bulk = bulk
        self._clock = clock

    async def post(
        self,
        content: Mapping[str, Any],
        accounts: Sequence[Mapping[str, Any]],
        answer_of: AnswerOf,
        read: Read,
        key: IdempotencyKey | None = None,
        callback_url: str | None = None,
    ) -> Accepted:
        """Accept a task for each account whose data is valid, all in one transaction.

        Args:
            read: Reads the data of a task.
            callback_url: Told when all tasks have ended, and how each task ends that has no address of its own.

        Returns:
            Without tasks if no account's data is valid; then nothing is kept.

        Raises:
            InvalidValue: No callback can be sent to `callback_url`.
            KeyReused: The key was used for another request. Also raises the errors of `Acceptance.publish_task`.
        """
        if callback_url is not None:
            self._reader.check_callback_url(callback_url)
        now_ms = self._clock()
        fanout_id = new_task_id(now_ms)
        accounts_read = [
            await _read_account(read, index, data, account)
            for index, (data, account) in enumerate(
                zip(merged_items(content, accounts, callback_url), accounts, strict=True)
            )
        ]
        submissions = [one for one in accounts_read if isinstance(one, Submission)]
        tasks = [submission.task(now_ms, self._acceptance.accepted_by, fanout_id) for submission in submissions]
        items = _items_of(accounts_read, tasks)
        if not tasks:
            return Accepted(tasks=(), answer=answer_of(fanout_id, items, ()))

        def rule(duplicates: Mapping[str, str]) -> Posted:
            kept = [task for task in tasks if task.task_id not in duplicates]
            shown = [_unless_duplicate(item, duplicates) for item in items]
            batch = _batch(fanout_id, shown, len(kept), now_ms, callback_url)
            return Posted(answer=answer_of(fanout_id, shown, kept), batch=batch)

        guards = guards_of(submissions, tasks, now_ms)
        accepted = await self._acceptance.publish_posting(Posting(tasks=tasks, rule=rule, guards=guards, key=key))
        if accepted.tasks:
            log.info("fanout.accepted", fanout_id=fanout_id, accounts=len(items), accepted=len(accepted.tasks))
        return accepted

    async def retry(self, fanout_id: str, *, force: bool = False, patch: dict[str, Any] | None = None) -> BulkAnswer:
        """Retry the accounts whose newest task has failed; the new tasks are of the fan-out too.

        Args:
            force: Also those whose outcome is unknown.
            patch: A JSON merge patch of their data.

        Raises:
            FanoutNotFound: There is no such fan-out.
            Unavailable: The store cannot write.
        """
        failed = [end.task_id for end in await self._ends(fanout_id) if is_failure(end.status, force=force)]
        request = BulkRequest(kind=BulkKind.RETRY, task_ids=tuple(failed), force=force, data=patch, batch_id=fanout_id)
        return await self._bulk.run(request)

    async def cancel(self, fanout_id: str, *, force: bool = False) -> BulkAnswer:
        """Cancel the tasks that have not ended; with `force`, also those that a worker holds. Raises as `retry`."""
        unfinished = [end.task_id for end in await self._ends(fanout_id) if is_unfinished(end.status)]
        return await self._bulk.run(BulkRequest(kind=BulkKind.CANCEL, task_ids=tuple(unfinished), force=force))

    async def _ends(self, fanout_id: str) -> Sequence[ChainEnd]:
        found = await self._batches.find(fanout_id)
        if found is None:
            raise FanoutNotFound(fanout_id)
        return found[1]


def _batch(fanout_id: str, items: Sequence[FanoutItem], accepted: int, now_ms: int, callback_url: str | None) -> Batch:
    """A fan-out as the store keeps it; `accepted` of its items are new tasks."""
    return Batch(
        batch_id=fanout_id,
        kind=BatchKind.FANOUT,
        items=items,
        created_at=to_text(now_ms),
        callback_url=callback_url,
        total=len(items),
        rejected=len(items) - accepted,
        unfinished=accepted,
    )


def _rejected(index: int, data: Mapping[str, Any], error: BadInput) -> FanoutItem:
    platform, account_id = data.get("platform"), data.get("account_id")
    return FanoutItem(
        index=index,
        platform=str(platform)[:SHOWN] if isinstance(platform, int | str) else None,
        account_id=account_id[:SHOWN] if isinstance(account_id, str) else None,
        code=error.code,
        message=error.message,
        path=getattr(error, "path", None),
    )


def _items_of(read: Sequence[Submission | FanoutItem], tasks: Sequence[Task]) -> list[FanoutItem]:
    """The accounts as they are kept; the valid ones have become `tasks`."""
    made = iter(tasks)
    return [one if isinstance(one, FanoutItem) else _accepted(index, one, next(made)) for index, one in enumerate(read)]


def _accepted(index: int, submission: Submission, task: Task) -> FanoutItem:
    return FanoutItem(
        index=index,
        platform=task.platform,
        account_id=task.account_id,
        task_id=task.task_id,
        warning=submission.warning,
        unknown_fields=submission.unknown_fields or None,
    )


def _unless_duplicate(item: FanoutItem, duplicates: Mapping[str, str]) -> FanoutItem:
    """The account; as rejected if its task is a duplicate."""
    earlier = duplicates.get(item.task_id or "")
    if earlier is None:
        return item
    error = DuplicatePost(earlier)
    return msgspec.structs.replace(item, task_id=None, code=error.code, message=error.message, earlier_task_id=earlier)


async def _read_account(
    read: Read, index: int, data: dict[str, Any], account: Mapping[str, Any]
) -> Submission | FanoutItem:
    """What is to be posted for an account; the account as it is kept if its data is not valid."""
    try:
        return await read(data)
    except BadInput as error:
        if isinstance(error, InvalidValue):
            place_fault(error, index, account)
        return _rejected(index, data, error)
