"""The callbacks about a task, a batch or a fan-out, each with its attempts."""

from collections.abc import Sequence
from typing import Any

import msgspec

from everpost.redaction import USUALLY, Redactor
from everpost.store.history import History, TaskDetail
from everpost.task.callbacks import SUFFIX, is_callback
from everpost.task.model import TaskStatus

MOST = 100  # callbacks in one answer


class CallbackView(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of a callback: the first, or a redelivery.

    Attributes:
        webhook_id: The same for all deliveries of one callback.
        type: What happened, such as `task.failed`.
        status: That of the delivery: `success` once the receiver took it, `failed` when it was given up.
        redelivery_of: The delivery that this one repeats.
    """

    callback_id: str
    webhook_id: str
    type: str
    url: str
    status: str
    created_at: str | None
    due_at: str | None
    completed_at: str | None
    error_message: str | None
    redelivery_of: str | None
    attempts: Sequence[Any]


class CallbackViews:
    """Looks callbacks up."""

    def __init__(self, history: History, redactor: Redactor = USUALLY) -> None:
        self._history = history
        self._redactor = redactor

    async def about(self, about: str) -> list[CallbackView]:
        """The callbacks about a task or batch, the oldest first, at most `MOST`; possibly empty."""
        matches = await self._history.find_ids(f"{about}.", MOST)
        found: list[TaskDetail] = []
        for task_id in sorted(match.task_id for match in matches if is_callback(match.task_id)):
            found += await self._deliveries(task_id)
        views = [self._view(detail) for detail in found[:MOST]]
        return sorted(views, key=lambda view: (view.created_at or "", view.callback_id))

    async def _deliveries(self, task_id: str) -> list[TaskDetail]:
        """A callback and all its redeliveries; each of them retries one before it."""
        found: list[TaskDetail] = []
        left = [task_id]
        while left and len(found) < MOST:
            detail = await self._history.find_task(left.pop(0))
            if detail is not None:
                found.append(detail)
                left += [retry.task_id for retry in reversed(detail.retries)]
        return found

    def _view(self, detail: TaskDetail) -> CallbackView:
        callback = _member(detail.task_data or {}, "callback")
        has_ended = detail.completed_at is not None or detail.status in {TaskStatus.SUCCESS, TaskStatus.FAILED}
        return CallbackView(
            callback_id=detail.task_id,
            webhook_id=str(callback.get("id") or detail.task_id.removesuffix(SUFFIX)),
            type=str((callback.get("event") or {}).get("type") or ""),
            url=self._redactor.hide_text(str(callback.get("url") or "")),
            status=detail.status,
            created_at=detail.created_at,
            due_at=None if has_ended else detail.due_at,
            completed_at=detail.completed_at,
            error_message=self._redactor.hide_in(detail.error_message),
            redelivery_of=detail.retry_of,
            attempts=self._redactor.hide_in(detail.attempts),
        )


def _member(data: dict[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    decoded = msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
    return decoded if isinstance(decoded, dict) else {}
