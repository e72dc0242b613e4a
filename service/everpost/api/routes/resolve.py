"""POST /tasks/{id}/resolve and /tasks/batch/resolve: people's decisions about tasks of unknown outcome."""

from typing import Annotated

import msgspec
from litestar import post
from msgspec import Meta

from everpost.access import Right
from everpost.actions.bulk import BulkKind
from everpost.api.http.audited import audited, note_of
from everpost.api.http.bodies import read_object
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.rights import needs
from everpost.api.openapi.describe import WITH_ID, Body, documented
from everpost.api.routes.many_tasks import LOCATION, BulkBody, check_name, run_bulk
from everpost.api.routes.one_task import TaskId, checked_id
from everpost.api.services import ApiRequest, services_of
from everpost.errors import InvalidValue
from everpost.printable import is_printable
from everpost.task.resolution_rules import Decided, DecisionKind
from everpost.views.bulk_answers import BulkReply

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


class BulkResolveBody(BulkBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tasks to decide about, as for other bulk work, and the decision about each."""

    decision: DecisionKind
    why: Annotated[Text, Meta(description="The finding.")]
    by: Annotated[Text, Meta(description="Who decides; without a token and keys it is needed.")] | None = None


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
    check_name(request, body.by)
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


@post(
    "/tasks/batch/resolve",
    summary="Decide about many unknown outcomes",
    description="The same decision about many tasks that are `unknown`, after a person has looked at the platform: "
    "`succeeded` makes them successes, `send_again` runs each again as a new task. Others are left out "
    "(`nothing_to_decide`). The decisions are kept for ever, and cannot be undone. Large sets run in the background.",
    tags=["Bulk"],
    opt=needs(Right.OPERATE, scoped=True),
    **documented(
        BulkReply,
        description="The result; with `dry_run`, what it would be.",
        refusals=("unknown_platform", "disk_full", "search_timeout"),
        body=Body(
            "Which tasks, and the decision.",
            {JSON: BulkResolveBody},
            {
                "All of an account": {
                    "filter": {"status": "unknown", "platform": 1, "account_id": "my_account"},
                    "decision": "succeeded",
                    "by": "mei",
                    "why": "All posts of the evening are in the timeline.",
                }
            },
        ),
        also={202: "There are many tasks; the work continues in the background."},
        gives=(LOCATION,),
    ),
)
@audited
async def resolve_tasks(request: ApiRequest) -> JsonAnswer:
    """Take a decision about many tasks."""
    return await run_bulk(request, BulkKind.RESOLVE, BulkResolveBody)
