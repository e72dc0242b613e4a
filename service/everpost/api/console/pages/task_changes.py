"""What a page changes in one task: retry, cancel, publish now, remove, decide, and edit."""

import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec

from everpost.access.roles import ANONYMOUS
from everpost.actions.edit import PUBLISH_NOW
from everpost.api.console.answers import SeeOther
from everpost.api.console.forms import read_form
from everpost.api.console.frame import render
from everpost.api.console.pages.edited_data import patch_between
from everpost.api.console.pages.task import pretty, task_page
from everpost.api.http.audited import note_of
from everpost.api.http.file_reach import need_files_in_reach
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import need_patch_in_reach
from everpost.api.http.rights import caller_of
from everpost.api.routes.one_task import checked_id
from everpost.api.services import ApiRequest, services_of
from everpost.errors import InvalidValue, MalformedJson, ServiceError
from everpost.printable import is_printable
from everpost.task.model import WAITING
from everpost.task.resolution_rules import DecisionKind
from everpost.task.submission import decode_json
from everpost.views.shown_tasks import TaskDetail, decoded

PLAIN = ("title", "description", "account_id", "schedule_time", "priority")
"""The members of a task's data that have fields of their own; the others are edited as JSON."""
LONGEST = 2_000
NUMBER = re.compile(r"\s*[0-9]{1,9}\s*")

Change = Callable[[ApiRequest, str, Mapping[str, str]], Awaitable[str]]
"""Does something to a task, as a form says; the address to go on to, relative to the task's."""


async def retry_task(request: ApiRequest) -> JsonAnswer:
    """Retry it, and go to the new task."""
    return await _change(request, _retry)


async def cancel_task(request: ApiRequest) -> JsonAnswer:
    """Cancel it; a running one is asked to stop."""
    return await _change(request, _cancel)


async def publish_task_now(request: ApiRequest) -> JsonAnswer:
    """Make it due."""
    return await _change(request, _publish_now)


async def remove_task(request: ApiRequest) -> JsonAnswer:
    """Move it to the archive."""
    return await _change(request, _remove)


async def bring_task_back(request: ApiRequest) -> JsonAnswer:
    """Move it back from the archive."""
    return await _change(request, _bring_back)


async def resolve_task(request: ApiRequest) -> JsonAnswer:
    """Take a decision about its unknown outcome, and go to the next one."""
    return await _change(request, _resolve)


async def _change(request: ApiRequest, change: Change) -> JsonAnswer:
    form = await read_form(request)
    task_id = request.path_params["task_id"]
    try:
        where = await change(request, checked_id(task_id), form)
    except ServiceError as error:
        return await task_page(request, task_id, error)
    return SeeOther(where)


async def _retry(request: ApiRequest, task_id: str, form: Mapping[str, str]) -> str:
    by, note, is_forced = form.get("by") or None, note_of(request), form.get("force") == "1"
    note.about(task_id, by=by, why=form.get("why") or None, force=is_forced)
    retries = services_of(request).retries
    retried = await retries.retry_task(task_id, force=is_forced, grounds=note.grounds(by))
    return f"../{quote(retried.new_task_id, safe='')}?done=retried"


async def _cancel(request: ApiRequest, task_id: str, form: Mapping[str, str]) -> str:
    note, is_forced = note_of(request), form.get("force") == "1"
    note.about(task_id, force=is_forced)
    cancel = services_of(request).cancellations.cancel_task
    is_done = await cancel(task_id, force=is_forced, grounds=note.grounds(None))
    if not is_done:
        note.is_needed = True  # there is no transaction that could have kept it
    return f"../{quote(task_id, safe='')}?done={'cancelled' if is_done else 'asked_to_stop'}"


async def _publish_now(request: ApiRequest, task_id: str, form: Mapping[str, str]) -> str:
    del form
    note = note_of(request)
    note.about(task_id)
    await services_of(request).edits.edit_task(task_id, dict(PUBLISH_NOW), note.grounds(None))
    return f"../{quote(task_id, safe='')}?done=due_now"


async def _remove(request: ApiRequest, task_id: str, form: Mapping[str, str]) -> str:
    del form
    note = note_of(request)
    note.about(task_id)
    await services_of(request).removals.remove_task(task_id, note.grounds(None))
    return f"../{quote(task_id, safe='')}?done=removed"


async def _bring_back(request: ApiRequest, task_id: str, form: Mapping[str, str]) -> str:
    del form
    note = note_of(request)
    note.about(task_id)
    await services_of(request).removals.bring_back(task_id, note.grounds(None))
    return f"../{quote(task_id, safe='')}?done=brought_back"


async def _resolve(request: ApiRequest, task_id: str, form: Mapping[str, str]) -> str:
    services, note = services_of(request), note_of(request)
    by = _words(form, "by") if caller_of(request).name == ANONYMOUS else form.get("by", "").strip() or None
    note.about(task_id, by=by, why=_words(form, "why"), decision=form.get("decision"))
    grounds = note.grounds(by)
    if form.get("decision") == DecisionKind.SEND_AGAIN:
        await services.resolutions.send_again(task_id, grounds)
    elif form.get("decision") == DecisionKind.SUCCEEDED:
        await services.resolutions.mark_succeeded(
            task_id,
            grounds,
            provider_post_id=form.get("provider_post_id", "").strip() or None,
            publish_url=_address(form.get("publish_url", "").strip()),
        )
    else:
        raise InvalidValue("Choose one of the two decisions.", "$.decision")
    return "../../unknown?done=decided" if form.get("next") == "1" else f"../{quote(task_id, safe='')}?done=decided"


def _words(form: Mapping[str, str], name: str) -> str:
    text = form.get(name, "").strip()
    if not text or len(text) > LONGEST or not is_printable(text):
        raise InvalidValue(f"Say it in 1 to {LONGEST:,} characters that can be printed.", f"$.{name}")
    return text


def _address(text: str) -> str | None:
    if not text:
        return None
    if not text.startswith(("http://", "https://")) or len(text) > LONGEST or not is_printable(text) or " " in text:
        raise InvalidValue("It is not a web address.", "$.publish_url")
    return text


async def show_edit(request: ApiRequest) -> JsonAnswer:
    """Answer with the form that edits a waiting task, or retries an ended one with other data."""
    services = services_of(request)
    task = (await services.tasks.show(checked_id(request.path_params["task_id"]))).task
    return _form(request, task, *_split(_shown_data(task)))


async def edit_task(request: ApiRequest) -> JsonAnswer:
    """Edit the task, retry it with the edited data, or only check the form."""
    form = await read_form(request)
    services = services_of(request)
    task_id = checked_id(request.path_params["task_id"])
    task = (await services.tasks.show(task_id)).task
    fields, note = {name: form.get(name, "") for name in PLAIN}, note_of(request)
    try:
        patch = patch_between(_shown_data(task), _edited(fields, form.get("rest", "{}"), _shown_data(task)))
        need_patch_in_reach(caller_of(request), patch)
        await need_files_in_reach(services, caller_of(request), patch)
        patch = services.hiding.unshown(patch)
        if task.status in WAITING:
            if form.get("check") == "1":
                await services.edits.foresee_edit(task_id, patch)
                return _form(request, task, fields, form.get("rest", "{}"), is_checked=True)
            note.about(task_id, why=form.get("why") or None, members=sorted(patch))
            await services.edits.edit_task(task_id, patch, note.grounds(None))
            return SeeOther(f"../{quote(task_id, safe='')}?done=edited")
        note.about(task_id, edited=sorted(patch))
        retried = await services.retries.retry_task(task_id, patch=patch or None, path="$", grounds=note.grounds(None))
    except ServiceError as error:
        return _form(request, task, fields, form.get("rest", "{}"), error)
    return SeeOther(f"../{quote(retried.new_task_id, safe='')}?done=retried")


def _shown_data(task: TaskDetail) -> dict[str, Any]:
    return decoded(task.task_data) or {}


def _split(data: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """The fields of the form, and the rest as JSON."""
    fields = {name: _text(data.get(name)) for name in PLAIN}
    return fields, pretty({name: value for name, value in data.items() if name not in PLAIN})


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _edited(fields: Mapping[str, str], rest: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """The edited data of a form.

    Raises:
        InvalidValue: The rest is not a JSON object.
    """
    try:
        data = decode_json(rest.encode())
    except (MalformedJson, InvalidValue) as error:
        raise InvalidValue(f"This is not JSON: {error.message}", "$.rest") from error
    if not isinstance(data, dict):
        raise InvalidValue("It must be a JSON object.", "$.rest")
    for name, text in fields.items():
        if text.replace("\r\n", "\n") == _text(before.get(name)):
            if name in before:
                data[name] = before[name]
        elif text.strip():
            data[name] = int(text) if name == "priority" and NUMBER.fullmatch(text) else text.replace("\r\n", "\n")
    return data


def _form(
    request: ApiRequest,
    task: TaskDetail,
    fields: Mapping[str, str],
    rest: str,
    error: ServiceError | None = None,
    *,
    is_checked: bool = False,
) -> JsonAnswer:
    return render(
        request,
        "task_edit.html",
        status=HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        task=task,
        fields=fields,
        rest=rest,
        error=error,
        at_fault=str(getattr(error, "path", "")).removeprefix("$.").partition(".")[0].partition("[")[0],
        is_checked=is_checked,
        is_waiting=task.status in WAITING,
    )
