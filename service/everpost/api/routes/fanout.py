"""Fan-outs: one content for many accounts, with one status."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.params import PathParameter, QueryParameter
from msgspec import Meta

from everpost.access import Caller, Right
from everpost.api.http.audited import audited, note_of
from everpost.api.http.bodies import headers_of, read_json_body, read_optional_object
from everpost.api.http.file_reach import need_files_in_reach
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.reach import need_patch_in_reach
from everpost.api.http.rights import caller_of, needs
from everpost.api.idempotency import IDEMPOTENCY_KEY, WITH_KEY, idempotency_key
from everpost.api.named_things import read_submission
from everpost.api.openapi.describe import Body, Header, documented
from everpost.api.routes.many_tasks import LOCATION as OPERATION
from everpost.api.routes.many_tasks import answer_bulk
from everpost.api.routes.one_task import RetryBody
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import FanoutNotFound, InvalidValue
from everpost.store.account_zones import KnownZones
from everpost.store.ledger import FirstAnswer, IdempotencyKey
from everpost.task.fanout_rules import MAX_ACCOUNTS, FanoutItem, FanoutStatus
from everpost.task.model import MAX_ID, Task, is_task_id
from everpost.task.submission import decode_json, invalid_value
from everpost.views.bulk_answers import BulkReply
from everpost.views.fanout_views import FanoutView

MOST_BYTES = 16 << 20  # of all tasks' data together

SAMPLE = {
    "content": {"file_id": 123, "title": "测试视频", "tags": ["测试", "视频"]},
    "accounts": [
        {"platform": 1, "account_id": "shop"},
        {"platform": 3, "account_id": "shop", "title": "更短", "schedule_time": "2026-12-01T18:00:00+08:00"},
    ],
}
LOCATION = Header("Location", "The fan-out's address.", "/api/v1/publish/fanout/019b76da3f007c8e9d2b4f6a8c0e1d3f")

FanoutId = Annotated[str, PathParameter(description="The fan-out's id, from the answer of POST /publish/fanout.")]
RetryUnknown = Annotated[bool, QueryParameter(description="Retry accounts of unknown outcome too.")]
ForceRunning = Annotated[bool, QueryParameter(description="Stop tasks even if a worker runs them.")]


class FanoutRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One content for many accounts."""

    content: Annotated[
        dict[str, Any], Meta(description="The fields of POST /publish that all tasks share; other fields are kept too.")
    ]
    accounts: Annotated[
        list[dict[str, Any]],
        Meta(
            min_length=1,
            max_length=MAX_ACCOUNTS,
            description="For each account its `platform` and `account_id`, and what differs from the content: a JSON "
            "merge patch (RFC 7396) of it, so null removes a field.",
        ),
    ]
    callback_url: Annotated[
        str | None, Meta(description="Told when all tasks have ended, and of each task's end; see docs/callbacks.md")
    ] = None


class FanoutAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The result for each account; `success` says that all were accepted. `fanout_id` is the tasks' `batch_id` too."""

    success: bool
    message: str
    fanout_id: str
    status: FanoutStatus
    accepted: int
    rejected: int
    results: Sequence[FanoutItem]


class FanoutShown(msgspec.Struct, frozen=True, kw_only=True):
    """A fan-out."""

    success: bool
    data: FanoutView


@post(
    "/publish/fanout",
    summary="Publish one content to many accounts",
    description=f"Accepts a task for each of up to {MAX_ACCOUNTS} accounts in one transaction: the content, with the "
    "account's own fields merged into it. Accounts whose data is not valid are answered with their error, and the "
    "others are accepted.",
    tags=["Publishing"],
    opt=needs(Right.SUBMIT, scoped=True),
    **documented(
        FanoutAnswer,
        status=202,
        description="A task was accepted for at least one account.",
        refusals=("unknown_platform", *WITH_KEY, "backlog_full", "disk_full"),
        body=Body("The content and the accounts.", {JSON: FanoutRequest}, {"Two accounts": SAMPLE}),
        takes=(IDEMPOTENCY_KEY,),
        gives=(LOCATION,),
        others={422: FanoutAnswer},
    ),
)
async def publish_fanout(request: ApiRequest) -> JsonAnswer:
    """Accept a fan-out."""
    services = services_of(request)
    headers = headers_of(request)
    body = await read_json_body(request, headers, services.settings.max_body)
    key = idempotency_key(request, headers, body)
    if key is None:
        return await _post(services, body, None, caller_of(request))
    with services.keys_in_use.using(key):
        first = await services.store.ledger.find_answer(key)
        return await _post(services, body, key, caller_of(request)) if first is None else _accepted(first)


async def _post(services: Services, body: bytes, key: IdempotencyKey | None, caller: Caller) -> JsonAnswer:
    wanted = read_fanout(body)
    zones: KnownZones = {}
    accepted = await services.fanouts.post(
        wanted.content,
        wanted.accounts,
        _answer_of,
        partial(read_submission, services, known=zones, caller=caller),
        key,
        wanted.callback_url,
    )
    if not accepted.tasks and not accepted.is_repeated:
        return JsonAnswer(accepted.answer.body.encode(), 422)
    return _accepted(accepted.answer)


def read_fanout(body: bytes) -> FanoutRequest:
    """The request in a body.

    Raises:
        MalformedJson, InvalidValue: The body is not a fan-out, or its tasks would be too large together.
    """
    try:
        wanted = msgspec.convert(decode_json(body), FanoutRequest)
    except msgspec.ValidationError as error:
        raise invalid_value(error) from error
    size_bytes = len(body) + len(msgspec.json.encode(wanted.content)) * len(wanted.accounts)
    if size_bytes > MOST_BYTES:
        raise InvalidValue(
            f"The tasks would have {size_bytes} bytes together; at most {MOST_BYTES} are taken at once.", "$.accounts"
        )
    return wanted


def _answer_of(fanout_id: str, items: Sequence[FanoutItem], tasks: Sequence[Task]) -> FirstAnswer:
    answer = FanoutAnswer(
        success=len(tasks) == len(items),
        message=f"{len(tasks)} of {len(items)} tasks accepted",
        fanout_id=fanout_id,
        status=FanoutStatus.RUNNING if tasks else FanoutStatus.FAILED,
        accepted=len(tasks),
        rejected=len(items) - len(tasks),
        results=items,
    )
    return FirstAnswer(fanout_id, msgspec.json.encode(answer).decode())


def _accepted(answer: FirstAnswer) -> JsonAnswer:
    location = f"/api/v1/publish/fanout/{answer.accepted_id}"
    return JsonAnswer(answer.body.encode(), 202, headers={"location": location})


def checked_id(fanout_id: str) -> str:
    """The id in a path.

    Raises:
        FanoutNotFound: No fan-out can have this id.
    """
    if is_task_id(fanout_id):
        return fanout_id
    raise FanoutNotFound(fanout_id[:MAX_ID])


@get(
    "/publish/fanout/{fanout_id:str}",
    summary="Show a fan-out",
    description="One status for all accounts: `running` until every account's newest task has ended, then `success`, "
    "`partial` or `failed`; how many accounts have which status; and each account with its newest task.",
    tags=["Publishing"],
    opt=needs(Right.READ),
    **documented(FanoutShown, description="The fan-out.", refusals=("fanout_not_found",)),
)
async def show_fanout(request: ApiRequest, fanout_id: FanoutId) -> JsonAnswer:
    """Answer with a fan-out."""
    return JsonAnswer(
        FanoutShown(success=True, data=await services_of(request).fanout_views.show(checked_id(fanout_id)))
    )


@post(
    "/publish/fanout/{fanout_id:str}/retry",
    summary="Retry the failures of a fan-out",
    description="Retries the accounts whose newest task has failed; with `force` also those of unknown outcome. The "
    "new tasks stay in the fan-out: its status is that of the newest tasks. With `data`, their data is edited.",
    tags=["Publishing"],
    opt=needs(Right.OPERATE),
    **documented(
        BulkReply,
        description="The result, as of POST /tasks/batch/retry.",
        refusals=("fanout_not_found", "disk_full"),
        body=Body(
            "Nothing, or the changes of the data.",
            {JSON: RetryBody},
            {"A tag": {"data": {"tags": ["新"]}}},
            required=False,
        ),
        also={202: "There are many tasks; the work continues in the background."},
        gives=(OPERATION,),
    ),
)
@audited
async def retry_fanout(request: ApiRequest, fanout_id: FanoutId, force: RetryUnknown = False) -> JsonAnswer:
    """Retry the failures of a fan-out."""
    services = services_of(request)
    body = await read_optional_object(request, RetryBody, services.settings.max_body)
    patch = None if body is None or body.data is None else services.hiding.unshown(body.data, "$.data")
    need_patch_in_reach(caller_of(request), patch or {}, "$.data")
    await need_files_in_reach(services, caller_of(request), patch, "$.data")
    answer = await services.fanouts.retry(checked_id(fanout_id), force=force, patch=patch)
    note_of(request).about(
        fanout_id, operation_id=answer.operation_id, force=force, members=sorted(patch or ()), tasks=answer.total
    )
    return answer_bulk(answer)


@post(
    "/publish/fanout/{fanout_id:str}/cancel",
    summary="Cancel a fan-out",
    description="Cancels the tasks that still wait; with `force` also asks the workers to stop running ones. Posts "
    "that were published stay.",
    tags=["Publishing"],
    opt=needs(Right.OPERATE),
    **documented(
        BulkReply,
        description="The result, as of POST /tasks/batch/cancel.",
        refusals=("fanout_not_found",),
        also={202: "There are many tasks; the work continues in the background."},
        gives=(OPERATION,),
    ),
)
@audited
async def cancel_fanout(request: ApiRequest, fanout_id: FanoutId, force: ForceRunning = False) -> JsonAnswer:
    """Cancel the rest of a fan-out."""
    answer = await services_of(request).fanouts.cancel(checked_id(fanout_id), force=force)
    note_of(request).about(fanout_id, operation_id=answer.operation_id, force=force, tasks=answer.total)
    return answer_bulk(answer)
