"""POST /publish: the hot path."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import msgspec
from litestar import post
from litestar.params import QueryParameter

from everpost.access import Caller, Right
from everpost.api.http.bodies import headers_of, read_json_body
from everpost.api.http.json_answer import JSON, JsonAnswer
from everpost.api.http.rights import caller_of, needs
from everpost.api.idempotency import IDEMPOTENCY_KEY, WITH_KEY, idempotency_key
from everpost.api.named_things import read_submission
from everpost.api.openapi.describe import Body, Header, documented
from everpost.api.services import ApiRequest, Services, services_of
from everpost.clock import to_text_or_none
from everpost.store.ledger import FirstAnswer, IdempotencyKey
from everpost.task.model import Task, TaskStatus
from everpost.task.submission import PublishRequest, Submission, decode_json
from everpost.views.shown_files import FileView, view_of

OF_A_TASK = ("unknown_platform", "unknown_file", "unknown_account", "account_blocked", "skipped_time")
SAMPLE = {
    "platform": 1,
    "account_id": "test_account",
    "file_id": 123,
    "title": "测试视频",
    "description": "这是描述",
    "tags": ["测试", "视频"],
}

LOCATION = Header("Location", "The task's address.", "/api/v1/tasks/019b76da3f007c8e9d2b4f6a8c0e1d3f")


class PublishAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The task is on the disk and will run, whatever crashes from now on.

    Attributes:
        warning: Which of two times was taken, if clocks are put back at its `schedule_time`.
        unknown_fields: Fields of the task that neither Everpost nor its platform reads, such as a misspelled
            `scheduled_time`; left out if all fields are known. They are kept with the task.
    """

    success: bool
    message: str
    task_id: str
    status: TaskStatus
    warning: str | None = None
    unknown_fields: Sequence[str] | None = None


class DryRunAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The task would be accepted; nothing was written. `files` are those that it names by an id."""

    success: bool
    message: str
    platform: str
    status: TaskStatus
    due_at: str | None
    files: Sequence[FileView]
    warning: str | None = None
    unknown_fields: Sequence[str] | None = None


@post(
    "/publish",
    summary="Publish a task",
    description="Accepts one task. When this answers 202 the task is on the disk: it is never lost and never "
    "published twice silently. Fields the schema does not name are kept and handed to the publisher as they are.",
    tags=["Publishing"],
    opt=needs(Right.SUBMIT, scoped=True),
    **documented(
        PublishAnswer,
        status=202,
        description="The task was accepted.",
        refusals=(*OF_A_TASK, *WITH_KEY, "duplicate_post", "backlog_full", "disk_full"),
        body=Body("One task.", {JSON: PublishRequest}, {"A post": SAMPLE}),
        takes=(IDEMPOTENCY_KEY,),
        gives=(LOCATION,),
        besides={200: DryRunAnswer},
    ),
)
async def publish_task(
    request: ApiRequest,
    dry_run: Annotated[bool, QueryParameter(description="Only check the task; nothing is written.")] = False,
) -> JsonAnswer:
    """Accept one task."""
    services = services_of(request)
    headers = headers_of(request)
    body = await read_json_body(request, headers, services.settings.max_body)
    if dry_run:
        return await _foresee(services, body, caller_of(request))
    if (key := idempotency_key(request, headers, body)) is not None:
        return await _publish_once(services, body, key, caller_of(request))
    submission = await read_submission(services, decode_json(body), caller=caller_of(request))
    if submission.platform.duplicate_window_s is not None:
        answer_of = partial(_first_answer, submission)
        first = await services.acceptance.publish_unless_duplicate(submission, answer_of)
        return _accepted(first.accepted_id, first.body.encode())
    task = await services.acceptance.publish_task(submission)
    return _accepted(task.task_id, _answer_to(task, submission))


async def _foresee(services: Services, body: bytes, caller: Caller) -> JsonAnswer:
    submission = await read_submission(services, decode_json(body), caller=caller)
    now_ms = services.clock()
    files = await services.submitted_files.check(submission)
    await services.acceptance.check_duplicates(submission)
    answer = DryRunAnswer(
        success=True,
        message="The task is valid; nothing was accepted",
        platform=submission.platform.name,
        status=submission.task(now_ms, "").status_at(now_ms),
        due_at=to_text_or_none(submission.due_at_ms),
        files=[view_of(file) for file in files],
        warning=submission.warning,
        unknown_fields=submission.unknown_fields or None,
    )
    return JsonAnswer(answer)


async def _publish_once(services: Services, body: bytes, key: IdempotencyKey, caller: Caller) -> JsonAnswer:
    with services.keys_in_use.using(key):
        first = await services.store.ledger.find_answer(key)
        if first is None:
            submission = await read_submission(services, decode_json(body), caller=caller)
            answer_of = partial(_first_answer, submission)
            if submission.platform.duplicate_window_s is not None:
                first = await services.acceptance.publish_unless_duplicate(submission, answer_of, key)
            else:
                first = await services.acceptance.publish_once([submission], key, answer_of)
    return _accepted(first.accepted_id, first.body.encode())


def _first_answer(submission: Submission, tasks: Sequence[Task]) -> FirstAnswer:
    return FirstAnswer(tasks[0].task_id, msgspec.json.encode(_answer_to(tasks[0], submission)).decode())


def _answer_to(task: Task, submission: Submission) -> PublishAnswer:
    return PublishAnswer(
        success=True,
        message="Task accepted",
        task_id=task.task_id,
        status=task.status_at(task.created_at_ms),
        warning=submission.warning,
        unknown_fields=submission.unknown_fields or None,
    )


def _accepted(task_id: str, answer: PublishAnswer | bytes) -> JsonAnswer:
    return JsonAnswer(answer, 202, headers={"location": f"/api/v1/tasks/{task_id}"})
