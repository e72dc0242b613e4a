"""POST /publish/batch: many tasks at once, as JSON or as a stream."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from litestar import post
from litestar.response.base import ASGIResponse

from everpost.access import Caller, Right
from everpost.api.batch.placing import Item, read_spread
from everpost.api.batch.posted_batch import ItemResult, PostedBatch, results_from, submissions_of
from everpost.api.batch.stream import BatchStream
from everpost.api.http.bodies import NDJSON, headers_of, is_json, media_type_of, read_body
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.rights import caller_of, needs
from everpost.api.idempotency import IDEMPOTENCY_KEY, WITH_KEY, idempotency_key
from everpost.api.openapi.describe import Body, Header, documented
from everpost.api.routes.publish import OF_A_TASK, SAMPLE
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import BadInput, InvalidValue, UnsupportedMedia
from everpost.store.ledger import FirstAnswer, IdempotencyKey
from everpost.task.callbacks import MEMBER
from everpost.task.model import Task
from everpost.task.spread import Spread
from everpost.task.submission import PublishRequest, decode_json

MAX_ITEMS = 1_000


class BatchRequest(msgspec.Struct, frozen=True):
    """Tasks to publish together; `spread` gives times to those that have none.

    `callback_url` is told when all have ended, and of each task's end.
    """

    tasks: list[PublishRequest]
    callback_url: str | None = None
    spread: Spread | None = None


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of each item; `success` says that all were accepted."""

    success: bool
    message: str
    batch_id: str
    accepted: int
    rejected: int
    results: list[ItemResult]


LOCATION = Header(
    "Location", "The list of the batch's tasks.", "/api/v1/tasks?batch_id=019b76da3f007c8e9d2b4f6a8c0e1d3f"
)


@post(
    "/publish/batch",
    summary="Publish many tasks",
    description=f"Accepts every valid item, and answers every other item with its error. As JSON: a list, or an "
    f"object with `tasks`, of up to {MAX_ITEMS} items in one transaction; its `spread` places items without a "
    "`schedule_time` over a window, or at daily times. As NDJSON: one task a line, any number of "
    "them; the answer is NDJSON too, a line for each item as soon as it is on the disk, and a last line with "
    "`batch_id`, `accepted`, `rejected` and `done`; it takes no Idempotency-Key. A first line with only `spread` "
    "places the tasks as they come; in a window it says their `count`.",
    tags=["Publishing"],
    opt=needs(Right.SUBMIT, scoped=True),
    **documented(
        BatchAnswer,
        status=202,
        description="At least one task was accepted. A stream is answered as application/x-ndjson.",
        refusals=(*OF_A_TASK, *WITH_KEY, "backlog_full", "disk_full"),
        body=Body(
            "Tasks; as NDJSON one a line.",
            {JSON: list[PublishRequest] | BatchRequest, NDJSON: PublishRequest},
            {
                "Two posts": [SAMPLE, {**SAMPLE, "priority": 0}],
                "Two posts, tomorrow and the day after": {
                    "tasks": [SAMPLE, SAMPLE],
                    "spread": {"daily_times": ["18:30"], "videos_per_day": 1, "start_days": 0},
                },
            },
            {"A line": SAMPLE},
        ),
        takes=(IDEMPOTENCY_KEY,),
        gives=(LOCATION,),
        others={422: BatchAnswer},
    ),
)
async def publish_batch(request: ApiRequest) -> ASGIResponse:
    """Accept many tasks."""
    services = services_of(request)
    headers = headers_of(request)
    media_type = media_type_of(headers)
    if media_type == NDJSON:
        if b"idempotency-key" in headers:
            raise BadInput(f"A stream takes no Idempotency-Key: send up to {MAX_ITEMS} tasks as {JSON}.")
        return BatchStream(PostedBatch(services, caller_of(request)), services.spools, services.settings.max_body)
    if not is_json(media_type):
        raise UnsupportedMedia(f"{JSON} or {NDJSON}")
    body = await read_body(request, headers, services.settings.max_body)
    key = idempotency_key(request, headers, body)
    if key is None:
        return await _publish_json(services, body, None, caller_of(request))
    with services.keys_in_use.using(key):
        first = await services.store.ledger.find_answer(key)
        return await _publish_json(services, body, key, caller_of(request)) if first is None else _accepted(first)


async def _publish_json(services: Services, body: bytes, key: IdempotencyKey | None, caller: Caller) -> JsonAnswer:
    batch = PostedBatch(services, caller)
    data = decode_json(body)
    values, path, callback_url = items_of(data)
    spread = spread_of(data)
    if callback_url is not None:
        services.reader.check_callback_url(callback_url)
        values = with_callback(values, callback_url)
    items = await batch.read_values(values, path)
    if spread is not None:
        items = await batch.spread_over(spread, is_stream=False).place_all(items)
    submissions = submissions_of(items)
    if not submissions:
        return JsonAnswer(_answer_to(batch.batch_id, results_from(items, [])), 422)

    def answer_of(items: Sequence[Item], tasks: Sequence[Task]) -> FirstAnswer:
        answer = _answer_to(batch.batch_id, results_from(items, tasks))
        return FirstAnswer(batch.batch_id, msgspec.json.encode(answer).decode())

    if callback_url is not None or any(one.platform.duplicate_window_s for one in submissions):
        accepted, _, _ = await batch.accept_together(items, answer_of, callback_url=callback_url, key=key)
        if not accepted.tasks and not accepted.is_repeated:
            return JsonAnswer(accepted.answer.body.encode(), 422)
        return _accepted(accepted.answer)
    if key is None:
        return _accepted(answer_of(items, await services.acceptance.publish_tasks(submissions, batch.batch_id)))
    first_answer = partial(answer_of, items)
    return _accepted(await services.acceptance.publish_once(submissions, key, first_answer, batch.batch_id))


def _answer_to(batch_id: str, results: list[ItemResult]) -> BatchAnswer:
    accepted = sum(result.success for result in results)
    return BatchAnswer(
        success=accepted == len(results),
        message=f"{accepted} of {len(results)} tasks accepted",
        batch_id=batch_id,
        accepted=accepted,
        rejected=len(results) - accepted,
        results=results,
    )


def _accepted(answer: FirstAnswer) -> JsonAnswer:
    location = f"/api/v1/tasks?batch_id={answer.accepted_id}"
    return JsonAnswer(answer.body.encode(), 202, headers={"location": location})


def spread_of(body: Any) -> Spread | None:
    """The `spread` of a JSON batch.

    Raises:
        InvalidValue: It is not one.
    """
    return read_spread(body["spread"]) if isinstance(body, dict) and body.get("spread") is not None else None


def items_of(body: Any) -> tuple[list[Any], str, str | None]:
    """The items of a JSON batch, the JSON path of their list, and the batch's `callback_url`.

    Raises:
        InvalidValue: The body is neither a list nor an object with the list `tasks`, or has no items, or too many.
    """
    path, callback_url = "$", None
    if isinstance(body, dict):
        if unknown := [name for name in body if name not in {"tasks", "spread", MEMBER}]:
            raise InvalidValue(f"There is no field {unknown[0][:64]!r} here, only `tasks`, `spread` and `{MEMBER}`.")
        callback_url = body.get(MEMBER)
        body, path = body.get("tasks"), "$.tasks"
    if not isinstance(callback_url, str | None):
        raise InvalidValue("Expected `str | null`.", f"$.{MEMBER}")
    if not isinstance(body, list):
        raise InvalidValue("Send a list of tasks, or an object with the list `tasks`.", path)
    if not 1 <= len(body) <= MAX_ITEMS:
        raise InvalidValue(f"A batch has 1 to {MAX_ITEMS} items; send more as {NDJSON}.", path)
    return body, path, callback_url


def with_callback(values: list[Any], callback_url: str) -> list[Any]:
    """The items, each with this `callback_url` if it has none."""
    return [
        {**value, MEMBER: callback_url} if isinstance(value, dict) and value.get(MEMBER) is None else value
        for value in values
    ]
