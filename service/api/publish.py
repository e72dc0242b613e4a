"""POST /publish: the hot path."""

from hashlib import sha256

import msgspec
from litestar import post

from service.api.answers import JSON, JsonAnswer
from service.api.bodies import headers_of, read_json_body
from service.api.schema import Body, Header, documented
from service.api.services import ApiRequest, services_of
from service.errors import BadInput
from service.store.acceptance import IdempotencyKey
from service.submission import PublishRequest
from service.task import TaskStatus

MAX_KEY = 255
VISIBLE = range(0x21, 0x7F)

SAMPLE = {
    "platform": 1,
    "account_id": "test_account",
    "file_id": 123,
    "title": "测试视频",
    "description": "这是描述",
    "tags": ["测试", "视频"],
}

LOCATION = Header("Location", "Where the task can be looked at.", "/api/v1/tasks/019b76da3f007c8e9d2b4f6a8c0e1d3f")
IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "1 to 255 visible ASCII characters. The same key with the same body gives the same answer and no second task; "
    "with another body it is refused. Remembered for EVERPOST_IDEMPOTENCY_HOURS.",
    "order-8271-video-1",
)


class PublishAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The task is written down and will run, whatever crashes from here on."""

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
        refusals=("bad_input", "unknown_platform", "idempotency_key_reused", "backlog_full", "disk_full"),
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
    raw_key = headers.get(b"idempotency-key")
    key = None if raw_key is None else idempotency_key(raw_key, body)
    submission = services.reader.read(body, services.clock())
    task_id, status = await services.intake.publish_task(submission, key)
    answer = PublishAnswer(success=True, message="Task accepted", task_id=task_id, status=status)
    return JsonAnswer(answer, 202, headers={"location": f"/api/v1/tasks/{task_id}"})


def idempotency_key(raw: bytes, body: bytes) -> IdempotencyKey:
    """The key of a request, with the digest of its body.

    Raises:
        BadInput: The key is empty, longer than 255 characters, or not visible ASCII.
    """
    if not 0 < len(raw) <= MAX_KEY or any(character not in VISIBLE for character in raw):
        raise BadInput("The Idempotency-Key must be 1 to 255 visible ASCII characters.")
    return IdempotencyKey(raw.decode("ascii"), sha256(body).hexdigest())
