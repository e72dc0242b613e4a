"""One task: what happened to it, its data, its lineage, and what can be done now."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from everpost.access import Caller, Right
from everpost.access.roles import ANONYMOUS
from everpost.api.console.addresses import root_of
from everpost.api.console.frame import render, texts_for
from everpost.api.console.pages.lineage import draw_lineage, find_lineage
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import caller_of
from everpost.api.routes.one_task import checked_id
from everpost.api.services import ApiRequest, Services, services_of
from everpost.clock import from_text
from everpost.errors import ServiceError
from everpost.store.files import FileRecord
from everpost.task.file_refs import keys_of
from everpost.task.model import ENDED, UNFINISHED, WAITING, Attempt, Evidence, TaskStatus
from everpost.views.shown_tasks import Place, TaskDetail, decoded
from everpost.views.task_views import ShownTask

SHOWN_FIELDS = ("title", "description", "text", "tags", "schedule_time", "late_after_s", "callback_url")
"""The members of a task's data that come first, in this order."""

ACTIONS = frozenset(
    {"retry", "edit_retry", "force", "edit", "publish_now", "cancel", "stop", "decide", "remove", "bring_back"}
)


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a task, or is to happen.

    Attributes:
        kind: accepted, edit, attempt, decision, end, due or archived.
        status: What it led to, as a status; it gives the colour.
        about: The attempt, edit or decision.
        took_s: How long an attempt took.
    """

    kind: str
    at: str | None
    status: str = "other"
    about: Any = None
    took_s: float | None = None


async def show_task(request: ApiRequest) -> JsonAnswer:
    """Answer with the page."""
    return await task_page(request, request.path_params["task_id"])


async def task_page(request: ApiRequest, task_id: str, error: ServiceError | None = None) -> JsonAnswer:
    """The page of a task, with the error of what could not be done."""
    services = services_of(request)
    shown = await services.tasks.show(checked_id(task_id))
    task = shown.task
    data = decoded(task.task_data)
    found = await services.store.history.find_task(task_id)
    nodes = [] if found is None else await find_lineage(services.store.history, found)
    return render(
        request,
        "task.html",
        status=HTTPStatus.OK if error is None else HTTPStatus.CONFLICT,
        task=task,
        queue_position=shown.queue_position,
        error=error,
        moments=moments_of(task),
        fields=fields_of(data),
        raw=pretty(data) if data is not None else task.task_data_text,
        result=None if task.result is None else pretty(task.result),
        checkpoint=None if task.checkpoint is None else pretty(task.checkpoint),
        media=await media_of(services, data or {}),
        lineage=_drawing(request, shown, nodes) if len(nodes) > 1 else None,
        callbacks=await services.callback_views.about(task_id),
        can=actions_of(task) & allowed(caller_of(request)),
        asks_name=caller_of(request).name == ANONYMOUS,
    )


def _drawing(request: ApiRequest, shown: ShownTask, nodes: Sequence[Any]) -> str:
    texts = texts_for(request)
    words = {str(status): texts.text(f"status.{status}") for status in TaskStatus}
    now = [node._replace(status=shown.task.status) if node.task_id == shown.task.task_id else node for node in nodes]
    return draw_lineage(now, shown.task.task_id, root_of(request.scope["path"]), words, texts.text("task.lineage"))


def pretty(value: Any) -> str:
    """A decoded JSON value as people read it."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def fields_of(data: Mapping[str, Any] | None) -> list[tuple[str, str, bool]]:
    """The members of a task's data: name, text, and whether the text is JSON."""
    if data is None:
        return []
    names = [name for name in SHOWN_FIELDS if name in data]
    names += sorted(name for name in data if name not in names)
    return [
        (name, value, False) if isinstance(value := data[name], str) else (name, _plain(value), isinstance(value, dict))
        for name in names
    ]


def _plain(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return pretty(value) if isinstance(value, dict | list) else msgspec.json.encode(value).decode()


async def media_of(services: Services, data: Mapping[str, Any]) -> list[FileRecord]:
    """The records of the files that a task names; without those that are gone."""
    keys = list(keys_of(data))
    records = await services.files.records_of(keys) if keys else {}
    return [records[key] for key in keys if key in records]


def moments_of(task: TaskDetail) -> list[Moment]:
    """What happened, the earliest first, and at last what is to come."""
    moments = [Moment(kind="accepted", at=task.created_at, status="pending")]
    moments += [Moment(kind="edit", at=edit.edited_at, status="scheduled", about=edit) for edit in task.edits]
    moments += [_attempt(attempt) for attempt in attempts_of(task)]
    moments += [
        Moment(
            kind="decision",
            at=decided.decided_at,
            status="success" if decided.decision == "succeeded" else "retry",
            about=decided,
        )
        for decided in task.decisions
    ]
    if task.status in ENDED:
        moments.append(Moment(kind="end", at=task.completed_at or task.updated_at, status=task.status, about=task))
    if task.archived_at is not None:
        moments.append(Moment(kind="archived", at=task.archived_at, about=task))
    moments.sort(key=lambda moment: moment.at or "")
    if task.due_at is not None and task.status in WAITING:
        moments.append(Moment(kind="due", at=task.due_at, status=task.status))
    return moments


def attempts_of(task: TaskDetail) -> list[dict[str, Any]]:
    """The attempts on record, each with all fields; other programs may have written something else."""
    found = [dict.fromkeys(Attempt.__struct_fields__) | one for one in task.attempts if isinstance(one, dict)]
    for one in found:
        one["evidence"] = dict.fromkeys(Evidence.__struct_fields__) | one["evidence"] if one["evidence"] else None
    return found


def _attempt(attempt: dict[str, Any]) -> Moment:
    started, finished = attempt["started_at"], attempt["finished_at"]
    return Moment(
        kind="attempt",
        at=started,
        status=str(attempt["outcome"] or "other"),
        about=attempt,
        took_s=_seconds_between(started, finished),
    )


def _seconds_between(started: str | None, finished: str | None) -> float | None:
    try:
        start_ms, end_ms = from_text(started), from_text(finished)
    except ValueError:
        return None
    return None if start_ms is None or end_ms is None else (end_ms - start_ms) / 1000


def allowed(caller: Caller) -> frozenset[str]:
    """What the caller's role allows."""
    if Right.OPERATE in caller.rights:
        return ACTIONS
    return frozenset({"retry"}) if Right.SUBMIT in caller.rights else frozenset()


def actions_of(task: TaskDetail) -> frozenset[str]:
    """What can be done to the task now, as its status says."""
    if task.place is Place.ARCHIVE:
        return frozenset({"retry", "bring_back"} if task.archive_reason == "deleted" else {"retry"})
    if task.status == TaskStatus.UNKNOWN:
        return frozenset({"decide", "remove"})
    if task.status in WAITING:
        return frozenset({"edit", "cancel", "publish_now", "retry"} if not task.inherited else {"retry"})
    if task.status in UNFINISHED:
        return frozenset({"stop"})
    retries = {"force"} if task.status == TaskStatus.SUCCESS else {"retry", "edit_retry"}
    return frozenset(retries | {"remove"})
