"""Looking up at the platform whether a task of unknown outcome was published."""

import msgspec
from litestar import get, post

from everpost.access import Right
from everpost.api.http.audited import audited, note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import needs
from everpost.api.openapi.describe import WITH_ID, documented
from everpost.api.routes.one_task import TaskId, checked_id
from everpost.api.services import ApiRequest, Services, services_of
from everpost.clock import to_text
from everpost.errors import NothingToDecide
from everpost.store.look_ups import Finding, LookUp, ask_look_up, find_look_up
from everpost.task.model import TaskStatus


class LookUpShown(msgspec.Struct, frozen=True, kw_only=True):
    """A look-up. Times are UTC text.

    Attributes:
        finding: `found`, `not_found`, `no_verdict` if the platform did not say, or `cannot` if it cannot be asked; null
            while no worker has answered.
        said: More about the finding, in words.
    """

    task_id: str
    asked_at: str
    finding: Finding | None
    said: str | None
    provider_post_id: str | None
    publish_url: str | None


class LookUpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The last look-up of the task; null if none was asked for in the last 10 minutes."""

    success: bool
    data: LookUpShown | None


@post(
    "/tasks/{task_id:str}/look-up",
    summary="Look a post up",
    description="Asks a worker to find out from the platform whether a task of unknown outcome was published. It only "
    "reads, and decides nothing. The answer comes within some seconds: ask with GET.",
    tags=["Tasks"],
    opt=needs(Right.OPERATE),
    **documented(LookUpAnswer, status=202, description="A worker was asked.", refusals=(*WITH_ID, "nothing_to_decide")),
)
@audited
async def look_task_up(request: ApiRequest, task_id: TaskId) -> JsonAnswer:
    """Ask for a look-up."""
    asked = await ask_for_look_up(services_of(request), checked_id(task_id))
    note_of(request).about(task_id)
    return JsonAnswer(LookUpAnswer(success=True, data=shown_look_up(asked)), 202)


@get(
    "/tasks/{task_id:str}/look-up",
    summary="Show a look-up",
    description="What the last look-up of a task of unknown outcome found.",
    tags=["Tasks"],
    opt=needs(Right.READ),
    **documented(LookUpAnswer, description="The look-up.", refusals=WITH_ID),
)
async def show_look_up(request: ApiRequest, task_id: TaskId) -> JsonAnswer:
    """Show the last look-up."""
    found = await find_look_up(services_of(request).store.meta, checked_id(task_id))
    return JsonAnswer(LookUpAnswer(success=True, data=None if found is None else shown_look_up(found)))


async def ask_for_look_up(services: Services, task_id: str) -> LookUp:
    """Ask a worker to look a task up.

    Raises:
        TaskNotFound: There is no such task.
        NothingToDecide: Its outcome is not unknown.
    """
    task = (await services.tasks.show(task_id)).task
    if task.status != TaskStatus.UNKNOWN:
        raise NothingToDecide(task_id, task.status)
    return await ask_look_up(services.store.meta, task_id, services.clock())


def shown_look_up(found: LookUp) -> LookUpShown:
    """A look-up in the form of answers."""
    return LookUpShown(
        task_id=found.task_id,
        asked_at=to_text(found.asked_ms),
        finding=found.finding,
        said=found.said,
        provider_post_id=found.provider_post_id,
        publish_url=found.publish_url,
    )
