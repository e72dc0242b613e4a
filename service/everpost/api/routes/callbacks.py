"""Callbacks: the delivery log, and redelivery."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import PathParameter, QueryParameter

from everpost.access import Right
from everpost.api.http.audited import audited, note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import needs
from everpost.api.openapi.describe import WITH_ID, documented
from everpost.api.routes.one_task import By, checked_id
from everpost.api.services import ApiRequest, services_of
from everpost.errors import TaskNotFound
from everpost.task.callbacks import is_callback
from everpost.task.model import MAX_ID
from everpost.views.callback_views import CallbackView

REDELIVERY = "redelivery"  # the reason that is kept

CallbackId = Annotated[str, PathParameter(description="The callback's id, from GET /callbacks.")]
About = Annotated[
    str, QueryParameter(min_length=1, max_length=MAX_ID, description="The id of a task, a batch or a fan-out.")
]


class CallbacksAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The callbacks about a task, a batch or a fan-out, the oldest first; at most 100."""

    success: bool
    data: Sequence[CallbackView]


class RedeliveryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The callback is sent again, with the same `webhook-id` and body."""

    success: bool
    message: str
    callback_id: str


@get(
    "/callbacks",
    summary="List callbacks",
    description="The delivery log: the callbacks about a task, a batch or a fan-out, each with its attempts.",
    tags=["Callbacks"],
    opt=needs(Right.READ),
    **documented(CallbacksAnswer, description="The callbacks; none for an id without callbacks."),
)
async def list_callbacks(request: ApiRequest, about: About) -> JsonAnswer:
    """Answer with the callbacks about something."""
    return JsonAnswer(CallbacksAnswer(success=True, data=await services_of(request).callback_views.about(about)))


@post(
    "/callbacks/{callback_id:str}/redeliver",
    summary="Redeliver a callback",
    description="Sends a callback again, whether it was delivered, was given up, or waits for its next attempt. The "
    "`webhook-id` and the body stay the same. While a redelivery is unfinished, its id is answered.",
    tags=["Callbacks"],
    opt=needs(Right.OPERATE),
    **documented(
        RedeliveryAnswer,
        description="It will be sent again.",
        refusals=(*WITH_ID, "task_running", "task_held", "queue_unreachable", "disk_full"),
    ),
)
@audited
async def redeliver_callback(request: ApiRequest, callback_id: CallbackId, by: By = None) -> JsonAnswer:
    """Send a callback again."""
    if not is_callback(callback_id):
        raise TaskNotFound(callback_id[:MAX_ID])
    note = note_of(request)
    note.about(checked_id(callback_id), by=by, why=REDELIVERY)
    retried = await services_of(request).retries.retry_task(callback_id, force=True, grounds=note.grounds(by))
    return JsonAnswer(
        RedeliveryAnswer(success=True, message="The callback is sent again", callback_id=retried.new_task_id)
    )
