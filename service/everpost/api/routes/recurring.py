"""Recurring posts over HTTP."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import delete, get, patch, post
from litestar.params import PathParameter, QueryParameter

from everpost.access import Right
from everpost.actions.recurring import RecurrenceRequest, read_recurrence_patch, request_of
from everpost.api.http.audited import audited, note_of
from everpost.api.http.bodies import headers_of, read_json_body, read_object
from everpost.api.http.file_reach import need_files_in_reach
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.reach import need_patch_in_reach, need_reach
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import Body, documented
from everpost.api.services import ApiRequest, Services, services_of
from everpost.store.recurring import MAX_PAGE
from everpost.task.recurrence import Recurrence, RecurrenceStatus
from everpost.task.submission import decode_json
from everpost.views.hiding import Hiding

MERGE_PATCH = "application/merge-patch+json"
SHOWN_TIMES = 5
MOST_TIMES = 100

Key = Annotated[str, PathParameter(description="The recurring post's id or name.")]
Count = Annotated[int, QueryParameter(ge=1, le=MOST_TIMES, description="How many times to show.")]

SAMPLE = {
    "name": "weekly digest",
    "cron": "0 9 * * MON",
    "timezone": "Europe/Berlin",
    "data": {"platform": 1, "account_id": "test_account", "title": "每周摘要", "late_after_s": 3600},
}
CHANGED = ("recurrence_not_found", "recurrence_changed")
CHECKED = (
    "recurrence_exists",
    "unknown_platform",
    "unknown_account",
    "account_blocked",
    "unknown_file",
    "skipped_time",
)


class ShownRecurrence(msgspec.Struct, frozen=True, kw_only=True):
    """A recurring post. Times are UTC text.

    Attributes:
        reason: Why it was paused, unless a person did: `restored` after a backup was restored.
        data: The data of each task. The tasks have its `recurrence_id` as their `batch_id`.
        next_at: The next occurrence of which no task exists; tasks are made 15 s ahead. Null unless it is active.
        last_at: The last occurrence of which a task was made, `last_task_id`.
        made: How many tasks were made.
        missed: How many occurrences have no task, because Everpost did not run.
    """

    recurrence_id: str
    name: str
    status: RecurrenceStatus
    reason: str | None
    cron: str
    timezone: str | None
    until: str | None
    data: dict[str, msgspec.Raw]
    next_at: str | None
    last_at: str | None
    last_task_id: str | None
    made: int
    missed: int
    created_at: str
    updated_at: str


class RecurrenceAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A recurring post, and its next times in its zone.

    Attributes:
        unknown_fields: Fields of its task that neither Everpost nor the platform reads.
    """

    success: bool
    data: ShownRecurrence
    next_times: Sequence[str]
    unknown_fields: Sequence[str] | None = None


class RecurrencePage(msgspec.Struct, frozen=True, kw_only=True):
    """Recurring posts in the order of their names. `next_after` is the `after` of the next page; null on the last."""

    success: bool
    data: Sequence[ShownRecurrence]
    next_after: str | None


class NextTimes(msgspec.Struct, frozen=True, kw_only=True):
    """The next times of a recurring post, in its zone."""

    success: bool
    next_times: Sequence[str]


class RecurrencePatch(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON merge patch (RFC 7396) of what the recurring post was added with: any members of it."""

    name: str | None = None
    cron: str | None = None
    timezone: str | None = None
    until: str | None = None


@post(
    "/recurring",
    summary="Add a recurring post",
    description="Makes a post again and again, at the times of a cron expression in a time zone. Each is a task of its "
    "own, made shortly before its time. After an outage, only the newest of the times that are past is made; its "
    "`late_after_s` decides whether it is still sent. With `dry_run`, nothing is kept; the answer has the next times.",
    tags=["Recurring"],
    opt=needs(Right.OPERATE, scoped=True),
    **documented(
        RecurrenceAnswer,
        status=201,
        description="The recurring post.",
        refusals=CHECKED,
        body=Body("The recurring post.", {JSON: RecurrenceRequest}, {"Every Monday at nine": SAMPLE}),
        also={200: "With `dry_run`: the recurring post as it would be."},
    ),
)
@audited
async def add_recurring(
    request: ApiRequest, dry_run: Annotated[bool, QueryParameter(description="Only check it.")] = False
) -> JsonAnswer:
    """Add a recurring post, or check it."""
    services = services_of(request)
    wanted = await read_object(request, RecurrenceRequest, services.settings.max_body)
    if (caller := caller_of(request)).is_limited:
        checked = await services.recurring.read(wanted)
        need_reach(caller, checked.platform, checked.account_id, "$.data.account_id")
        await need_files_in_reach(services, caller, wanted.data, "$.data")
    if dry_run:
        note_of(request).is_needed = False
        return await _answer(services, await services.recurring.read(wanted))
    return await _answer(services, _noted(request, await services.recurring.add(wanted)), 201)


@get(
    "/recurring",
    summary="List recurring posts",
    description="All recurring posts, in the order of their names.",
    tags=["Recurring"],
    opt=needs(Right.READ, scoped=True),
    **documented(RecurrencePage, description="The page."),
)
async def list_recurring(
    request: ApiRequest,
    after: Annotated[str, QueryParameter(max_length=100, description="Those after this name.")] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE, description="At most so many.")] = 100,
) -> JsonAnswer:
    """Answer with a page of recurring posts."""
    services = services_of(request)
    found, hiding = await services.recurring.page(after, limit), services.hiding
    following = found[-1].name if len(found) == limit else None
    caller = caller_of(request)
    shown = [_shown(one, hiding) for one in found if caller.may_reach(one.platform, one.account_id)]
    return JsonAnswer(RecurrencePage(success=True, data=shown, next_after=following))


@get(
    "/recurring/{recurrence_id:str}",
    summary="Show a recurring post",
    description="One recurring post with its next times.",
    tags=["Recurring"],
    opt=needs(Right.READ),
    **documented(RecurrenceAnswer, description="The recurring post.", refusals=("recurrence_not_found",)),
)
async def show_recurring(request: ApiRequest, recurrence_id: Key) -> JsonAnswer:
    """Answer with a recurring post."""
    services = services_of(request)
    return await _answer(services, await services.recurring.find(recurrence_id))


@get(
    "/recurring/{recurrence_id:str}/next",
    summary="Show the next times of a recurring post",
    description="When it would be made next, whether or not it is paused.",
    tags=["Recurring"],
    opt=needs(Right.READ),
    **documented(NextTimes, description="The times.", refusals=("recurrence_not_found",)),
)
async def show_next_times(request: ApiRequest, recurrence_id: Key, count: Count = 10) -> JsonAnswer:
    """Answer with the next times."""
    recurring = services_of(request).recurring
    times = await recurring.next_times(await recurring.find(recurrence_id), count)
    return JsonAnswer(NextTimes(success=True, next_times=times))


@patch(
    "/recurring/{recurrence_id:str}",
    summary="Edit a recurring post",
    description="Changes it by a JSON merge patch of what it was added with. A task that was made already stays as it "
    "is: that of the next 15 seconds, at most.",
    tags=["Recurring"],
    opt=needs(Right.OPERATE),
    **documented(
        RecurrenceAnswer,
        description="The recurring post.",
        refusals=(*CHANGED, *CHECKED),
        body=Body(
            "The patch.",
            {JSON: RecurrencePatch, MERGE_PATCH: RecurrencePatch},
            {"On Tuesdays": {"cron": "0 9 * * TUE"}},
            {"On Tuesdays": {"cron": "0 9 * * TUE"}},
        ),
    ),
)
@audited
async def edit_recurring(request: ApiRequest, recurrence_id: Key) -> JsonAnswer:
    """Edit a recurring post."""
    services = services_of(request)
    body = await read_json_body(request, headers_of(request), services.settings.max_body)
    changes = read_recurrence_patch(decode_json(body))
    if isinstance(data := changes.get("data"), dict):
        changes["data"] = services.hiding.unshown(data, "$.data")
    need_patch_in_reach(caller_of(request), changes.get("data") or {}, "$.data")
    await need_files_in_reach(services, caller_of(request), changes.get("data"), "$.data")
    edited = await services.recurring.edit(recurrence_id, changes)
    return await _answer(services, _noted(request, edited, members=sorted(changes)))


@post(
    "/recurring/{recurrence_id:str}/pause",
    summary="Pause a recurring post",
    description="No task is made until it is resumed. A task that was made already and is not due yet is cancelled.",
    tags=["Recurring"],
    opt=needs(Right.OPERATE),
    **documented(RecurrenceAnswer, description="It is paused.", refusals=CHANGED),
)
@audited
async def pause_recurring(request: ApiRequest, recurrence_id: Key) -> JsonAnswer:
    """Pause a recurring post."""
    services = services_of(request)
    return await _answer(services, _noted(request, await services.recurring.pause(recurrence_id)))


@post(
    "/recurring/{recurrence_id:str}/resume",
    summary="Resume a recurring post",
    description="It goes on with its next time. The times while it was paused are not made.",
    tags=["Recurring"],
    opt=needs(Right.OPERATE),
    **documented(RecurrenceAnswer, description="It is active.", refusals=CHANGED),
)
@audited
async def resume_recurring(request: ApiRequest, recurrence_id: Key) -> JsonAnswer:
    """Resume a recurring post."""
    services = services_of(request)
    return await _answer(services, _noted(request, await services.recurring.resume(recurrence_id)))


@delete(
    "/recurring/{recurrence_id:str}",
    summary="Remove a recurring post",
    description="Removes it; its tasks stay. A task that was made already and is not due yet is cancelled.",
    tags=["Recurring"],
    opt=needs(Right.OPERATE),
    **documented(RecurrenceAnswer, description="The removed recurring post.", refusals=CHANGED),
)
@audited
async def remove_recurring(request: ApiRequest, recurrence_id: Key) -> JsonAnswer:
    """Remove a recurring post."""
    services = services_of(request)
    removed = _noted(request, await services.recurring.remove(recurrence_id))
    return JsonAnswer(RecurrenceAnswer(success=True, data=_shown(removed, services.hiding), next_times=()))


def _noted(request: ApiRequest, recurrence: Recurrence, **details: Any) -> Recurrence:
    """Say in the audit which recurring post is changed."""
    note_of(request).about(recurrence.recurrence_id, name=recurrence.name, **details)
    return recurrence


async def _answer(services: Services, recurrence: Recurrence, status: int = 200) -> JsonAnswer:
    is_active = recurrence.status is RecurrenceStatus.ACTIVE
    times = await services.recurring.next_times(recurrence, SHOWN_TIMES) if is_active else ()
    unknown = services.recurring.unknown_fields(recurrence) or None
    answer = RecurrenceAnswer(
        success=True, data=_shown(recurrence, services.hiding), next_times=times, unknown_fields=unknown
    )
    return JsonAnswer(answer, status)


def _shown(recurrence: Recurrence, hiding: Hiding) -> ShownRecurrence:
    fields = msgspec.structs.asdict(recurrence) | request_of(recurrence)
    del fields["version"], fields["task_data"], fields["platform"], fields["account_id"]
    fields["until"] = fields.pop("until_at")
    fields["data"] = hiding.members(msgspec.json.decode(recurrence.task_data, type=dict[str, msgspec.Raw]))
    return ShownRecurrence(**fields)
