"""POST /tasks/{id}/resolve: a person's decision about a task of unknown outcome."""

from typing import Annotated

import msgspec
from litestar import post
from msgspec import Meta

from everpost.access import Right
from everpost.access.roles import ANONYMOUS
from everpost.api.http.audited import audited, note_of
from everpost.api.http.bodies import read_object
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import WITH_ID, Body, documented
from everpost.api.routes.one_task import TaskId, checked_id
from everpost.api.services import ApiRequest, services_of
from everpost.errors import InvalidValue
from everpost.printable import is_printable
from everpost.task.resolution_rules import Decided, DecisionKind

NO_NUL = r"^[^\x00]*$"

Text = Annotated[str, Meta(min_length=1, max_length=2_000, pattern=NO_NUL)]
Url = Annotated[str, Meta(max_length=2_000, pattern=r"^https?://[^\s\x00]+$")]

EXAMPLES = {
    "The post is there": {
        "decision": "succeeded",
        "by": "mei",
        "why": "The post is in the account's timeline.",
        "provider_post_id": "17",
    },
    "The post is not there": {
        "decision": "send_again",
        "by": "mei",
        "why": "The post is not in the account's timeline.",
    },
}


class ResolveBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision of a person who has looked at the platform: the finding, the person, and the reason."""

    decision: DecisionKind
    why: Annotated[Text, Meta(description="The finding.")]
    by: Annotated[Text, Meta(description="Who decides; without a token and keys it is needed.")] | None = None
    provider_post_id: Text | None = None
    publish_url: Url | None = None


class ResolveAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The decision as it is kept. After `send_again`, `new_task_id` is the task that sends it."""

    success: bool
    message: str
    data: Decided


@post(
    "/tasks/{task_id:str}/resolve",
    summary="Decide about an unknown outcome",
    description="For a task that is `unknown`, after a person has looked at the platform: `succeeded` makes it a "
    "success, `send_again` runs it again as a new task. The decision is kept for ever. If several people decide at "
    "once, one decision counts; the refusal of the others shows it.",
    tags=["Tasks"],
    opt=needs(Right.OPERATE),
    **documented(
        ResolveAnswer,
        description="The decision is made.",
        refusals=(*WITH_ID, "already_decided", "nothing_to_decide", "task_running", "unknown_platform"),
        body=Body("The decision.", {JSON: ResolveBody}, EXAMPLES),
    ),
)
@audited
async def resolve_task(request: ApiRequest, task_id: TaskId) -> JsonAnswer:
    """Take a decision."""
    services = services_of(request)
    body = await read_object(request, ResolveBody, services.settings.max_body)
    if body.by is None and caller_of(request).name == ANONYMOUS:
        raise InvalidValue("Say who decides.", "$.by")
    note = note_of(request)
    note.about(checked_id(task_id), by=body.by, why=body.why, decision=body.decision)
    grounds = note.grounds(body.by)
    for name in ("provider_post_id", "publish_url"):
        if not is_printable(getattr(body, name) or ""):
            raise InvalidValue("It contains characters that control a terminal or are invisible.", f"$.{name}")
    if body.decision is DecisionKind.SUCCEEDED:
        decided = await services.resolutions.mark_succeeded(
            task_id, grounds, provider_post_id=body.provider_post_id, publish_url=body.publish_url
        )
        return JsonAnswer(ResolveAnswer(success=True, message="Task marked as succeeded", data=decided))
    for name in ("provider_post_id", "publish_url"):
        if getattr(body, name) is not None:
            raise InvalidValue("Only a succeeded task has a post.", f"$.{name}")
    decided = await services.resolutions.send_again(task_id, grounds)
    return JsonAnswer(ResolveAnswer(success=True, message="Task is sent again", data=decided))
