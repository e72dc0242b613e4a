"""Shows whether tasks are dispatched to workers, and ends the pause after a restore."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import QueryParameter

from everpost.access import Right
from everpost.actions.resume import Resumed, Unfinished
from everpost.api.http.audited import audited, note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.rights import needs
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, services_of
from everpost.store.pause import Pause, find_pause


class DispatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether workers take tasks, and if not, why.

    Attributes:
        held: How many tasks wait for the decision that resuming makes.
    """

    success: bool
    paused: bool
    pause: Pause | None
    held: int


class ResumeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of the held tasks; with `dry_run`, what it would be."""

    success: bool
    message: str
    dry_run: bool
    resumed: Resumed


@get(
    "/dispatch",
    summary="Show dispatch",
    description="Whether workers take tasks. After a restore they do not, until a person resumes dispatch; tasks "
    "are accepted meanwhile, and wait.",
    tags=["Dispatch"],
    opt=needs(Right.READ),
    **documented(DispatchAnswer, description="The state of dispatch."),
)
async def show_dispatch(request: ApiRequest) -> JsonAnswer:
    """Answer with the pause, if there is one."""
    store = services_of(request).store
    pause = await find_pause(store.meta)
    held = 0 if pause is None else await store.held.count()
    return JsonAnswer(DispatchAnswer(success=True, paused=pause is not None, pause=pause, held=held))


@post(
    "/dispatch/resume",
    summary="Resume dispatch",
    description="Lets workers take tasks again after a backup was restored. Tasks that were unfinished in the "
    "backup may have been published since. Redis is asked first. A task that Redis does not know to be published "
    "becomes `unknown`, or runs.",
    tags=["Dispatch"],
    opt=needs(Right.ADMIN),
    **documented(ResumeAnswer, description="Dispatch has resumed.", refusals=("queue_unreachable",)),
)
@audited
async def resume_dispatch(
    request: ApiRequest,
    unfinished: Annotated[
        Unfinished,
        QueryParameter(description="unknown: a person decides about each; run: all run, some perhaps a second time."),
    ] = Unfinished.UNKNOWN,
    dry_run: Annotated[bool, QueryParameter(description="Change nothing, and answer what would be done.")] = False,
) -> JsonAnswer:
    """End the pause."""
    resumed = await services_of(request).resumption.resume(unfinished, dry_run=dry_run)
    note = note_of(request)
    note.about(None, unfinished=unfinished)
    note.is_needed = not dry_run and resumed.pause is not None
    message = "Dispatch was not paused" if resumed.pause is None else "Dispatch resumed"
    if dry_run and resumed.pause is not None:
        message = "Dispatch would be resumed"
    return JsonAnswer(ResumeAnswer(success=True, message=message, dry_run=dry_run, resumed=resumed))
