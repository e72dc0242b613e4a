"""The inbox of tasks of unknown outcome: the evidence, and a person's two decisions, one task after the other."""

from urllib.parse import quote

from everpost.access.roles import ANONYMOUS
from everpost.api.console.answers import SeeOther
from everpost.api.console.forms import read_form
from everpost.api.console.frame import render
from everpost.api.console.pages.task import attempts_of, fields_of, media_of
from everpost.api.http.audited import note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import is_reached, reached
from everpost.api.http.rights import caller_of
from everpost.api.routes.look_ups import ask_for_look_up
from everpost.api.routes.one_task import checked_id
from everpost.api.services import ApiRequest, services_of
from everpost.errors import TaskNotFound
from everpost.store.history import TaskFilter
from everpost.store.look_ups import find_look_up
from everpost.task.model import MAX_ID, TaskStatus
from everpost.views.shown_tasks import decoded

SHOWN = 50


async def show_unknown(request: ApiRequest) -> JsonAnswer:
    """Answer with the inbox. The task that the address names is open, else the first of the list."""
    services = services_of(request)
    wanted = reached(request, TaskFilter(status=TaskStatus.UNKNOWN))
    page = await services.tasks.page(wanted, request.query_params.get("cursor"), SHOWN)
    named = request.query_params.get("task")
    if named and not await is_reached(request, named):
        raise TaskNotFound(named[:MAX_ID])
    open_id = named or (page.rows[0].task_id if page.rows else None)
    task = None if open_id is None else (await services.tasks.show(checked_id(open_id))).task
    data = None if task is None else decoded(task.task_data)
    attempts = [] if task is None else attempts_of(task)
    return render(
        request,
        "unknown.html",
        page=page,
        task=task,
        evidence=next((one["evidence"] for one in reversed(attempts) if one["evidence"]), None),
        last=attempts[-1] if attempts else None,
        fields=fields_of(data),
        media=await media_of(services, data or {}),
        look_up=None if task is None else await find_look_up(services.store.meta, task.task_id),
        now_ms=services.clock(),
        asks_name=caller_of(request).name == ANONYMOUS,
    )


async def look_task_up(request: ApiRequest) -> JsonAnswer:
    """Ask a worker to look the task up, and go back to it."""
    await read_form(request)
    task_id = checked_id(request.path_params["task_id"])
    await ask_for_look_up(services_of(request), task_id)
    note_of(request).about(task_id)
    return SeeOther(f"../../unknown?task={quote(task_id, safe='')}")
