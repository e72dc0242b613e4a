"""POST /publish: the hot path."""

import msgspec
from litestar import post

from everpost.api.http.bodies import headers_of, read_json_body
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.idempotency import IDEMPOTENCY_KEY, WITH_KEY, idempotency_key
from everpost.api.named_things import check_named_things, names_something
from everpost.api.openapi.describe import Body, Header, documented
from everpost.api.services import ApiRequest, Services, services_of
from everpost.store.ledger import FirstAnswer, IdempotencyKey
from everpost.task.model import Task, TaskStatus
from everpost.task.submission import PublishRequest

OF_A_TASK = ("unknown_platform", "unknown_file", "unknown_account", "account_blocked")
SAMPLE = {
    "platform": 1,
    "account_id": "test_account",
    "file_id": 123,
    "title": "测试视频",
    "description": "这是描述",
    "tags": ["测试", "视频"],
}

LOCATION = Header("Location", "The task's address.", "/api/v1/tasks/019b76da3f007c8e9d2b4f6a8c0e1d3f")


class PublishAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The task is on the disk and will run, whatever crashes from now on."""

    success: bool
    message: str
    task_id: str
    status: TaskStatus


@post(
    "/publish",
    summary="Publish a task",
    description="Accepts one task. When this answers 202 the task is on the disk: it is never lost and never "
    "published twice silently. Fields the schema does not name are kept and handed to the publisher as they are.",
    tags=["Publishing"],
    **documented(
        PublishAnswer,
        status=202,
        description="The task was accepted.",
        refusals=(*OF_A_TASK, *WITH_KEY, "backlog_full", "disk_full"),
        body=Body("One task.", {JSON: PublishRequest}, {"A post": SAMPLE}),
        takes=(IDEMPOTENCY_KEY,),
        gives=(LOCATION,),
    ),
)
async def publish_task(request: ApiRequest) -> JsonAnswer:
    """Accept one task."""
    services = services_of(request)
    headers = headers_of(request)
    body = await read_json_body(request, headers, services.settings.max_body)
    if (key := idempotency_key(request, headers, body)) is not None:
        return await _publish_once(services, body, key)
    submission = services.reader.read(body, services.clock())
    if names_something(submission):
        await check_named_things(services, submission)
    task = await services.acceptance.publish_task(submission)
    return _accepted(task.task_id, _answer_to(task))


async def _publish_once(services: Services, body: bytes, key: IdempotencyKey) -> JsonAnswer:
    def first_answer(tasks: list[Task]) -> FirstAnswer:
        return FirstAnswer(tasks[0].task_id, msgspec.json.encode(_answer_to(tasks[0])).decode())

    with services.keys_in_use.using(key):
        first = await services.store.ledger.find_answer(key)
        if first is None:
            submission = services.reader.read(body, services.clock())
            if names_something(submission):
                await check_named_things(services, submission)
            first = await services.acceptance.publish_once([submission], key, first_answer)
    return _accepted(first.accepted_id, first.body.encode())


def _answer_to(task: Task) -> PublishAnswer:
    status = task.status_at(task.created_at_ms)
    return PublishAnswer(success=True, message="Task accepted", task_id=task.task_id, status=status)


def _accepted(task_id: str, answer: PublishAnswer | bytes) -> JsonAnswer:
    return JsonAnswer(answer, 202, headers={"location": f"/api/v1/tasks/{task_id}"})
