"""GET /events and /tasks/{task_id}/events: streams of what happens to tasks."""

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter
from litestar.response.base import ASGIResponse

from everpost.access import Right
from everpost.api.events.stream import MEDIA_TYPE, EventStream, StreamReader
from everpost.api.http.bodies import headers_of
from everpost.api.http.json_answer import BareAnswer
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import WITH_ID, Header, documented
from everpost.api.routes.one_task import TaskId, checked_id
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import InvalidValue, TaskNotFound
from everpost.task.model import MAX_ID, is_task_id
from everpost.task.place import Place
from everpost.views.events.details import LAST
from everpost.views.events.event import EventFilter, EventType

MOST_IDS = 100
LONGEST_POSITION = 64
WAIT_S = 30.0

LAST_EVENT_ID = Header(
    "Last-Event-ID",
    "The id of the last event that the client has: the stream goes on behind it. Browsers send it when they connect "
    "again.",
    "5d41402abc-1042-0",
    pattern=r"^[\x21-\x7e]{1,64}$",
)
After = Annotated[
    str | None,
    QueryParameter(
        description="The same as the header Last-Event-ID, for clients that cannot set it; the header counts first.",
        min_length=1,
        max_length=LONGEST_POSITION,
    ),
]
STREAM = "Server-Sent Events: each has an `id`, an `event` (its type) and `data` (a JSON object)."


@get(
    "/events",
    summary="Follow events",
    description="A stream of what happens to tasks, as Server-Sent Events. Every filter given must match. A client "
    "that connects again with the id of its last event misses nothing of the last hour; if that is not certain, the "
    "first event is a `reset`. A client that does not read is disconnected.",
    tags=["Events"],
    opt=needs(Right.READ, scoped=True),
    **documented(
        str,
        description=STREAM,
        media_type=MEDIA_TYPE,
        refusals=("unknown_platform", "unavailable"),
        takes=(LAST_EVENT_ID,),
    ),
)
async def follow_events(
    request: ApiRequest,
    types: Annotated[
        str | None,
        QueryParameter(
            description="Types of events, separated by commas: `task.accepted`, `task.started`, `task.progress`, "
            "`task.ended`, `task.changed`. A `reset` always comes.",
            max_length=256,
        ),
    ] = None,
    platform: Annotated[
        str | None, QueryParameter(description="A platform's id, name or alias.", min_length=1, max_length=256)
    ] = None,
    account_id: Annotated[
        str | None, QueryParameter(description="The account of the tasks.", min_length=1, max_length=256)
    ] = None,
    batch_id: Annotated[
        str | None, QueryParameter(description="The batch of the tasks.", min_length=1, max_length=256)
    ] = None,
    task_ids: Annotated[
        str | None, QueryParameter(description="Ids of tasks, separated by commas; 100 at most.", min_length=1)
    ] = None,
    last_event_id: After = None,
) -> ASGIResponse:
    """Stream the events that match."""
    services = services_of(request)
    wanted = EventFilter(
        types=_types(types),
        platform=None if platform is None else services.catalogue.find(platform).name,
        account_id=account_id,
        batch_id=batch_id,
        task_ids=_ids(task_ids),
        caller=caller_of(request) if caller_of(request).is_limited else None,
    )
    return EventStream(request, services.feed, wanted, _after(request, last_event_id))


@get(
    "/tasks/{task_id:str}/events",
    summary="Follow a task",
    description="A stream of what happens to one task, as Server-Sent Events. It ends with the task: the last event is "
    "`task.ended`. A client that has it and connects again is answered 204, at which browsers stop.",
    tags=["Events"],
    opt=needs(Right.READ),
    **documented(
        str,
        description=STREAM,
        media_type=MEDIA_TYPE,
        refusals=(*WITH_ID, "unavailable"),
        takes=(LAST_EVENT_ID,),
        also={204: "The client has the last event."},
    ),
)
async def follow_task(request: ApiRequest, task_id: TaskId, last_event_id: After = None) -> ASGIResponse:
    """Stream the events of a task until it has ended."""
    services, task_id = services_of(request), checked_id(task_id)
    after = _after(request, last_event_id)
    task = await services.store.history.find_task(task_id)
    if task is None:
        raise TaskNotFound(task_id)
    if task.place is not Place.LEDGER and after == LAST:
        return BareAnswer(204, {})
    types = frozenset({EventType.ACCEPTED, EventType.STARTED, EventType.PROGRESS, EventType.CHANGED})
    wanted = EventFilter(types=types, task_ids=frozenset({task_id}))

    async def end_with_task(reader: StreamReader) -> None:
        await _end_with_task(services, task_id, reader)

    return EventStream(request, services.feed, wanted, after, end_with_task)


async def _end_with_task(services: Services, task_id: str, reader: StreamReader) -> None:
    """Send the end of the task when it has ended, and end the stream."""
    while True:
        task = await services.store.history.find_task(task_id)
        if task is None or task.place is not Place.LEDGER:
            break
        await services.waiter.wait_for_end(task_id, WAIT_S)
        if reader.is_over.done():
            return
    if task is not None:
        reader.send(services.event_details.end_of(task, services.clock()))
    reader.finish()


def _after(request: ApiRequest, parameter: str | None) -> str | None:
    header = headers_of(request).get(b"last-event-id", b"").decode("latin-1").strip()
    return header[: LONGEST_POSITION + 1] or parameter


def _types(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    known = {kind.value for kind in EventType}
    types = [part.strip() for part in text.split(",") if part.strip()]
    for kind in types:
        if kind not in known:
            hint = ", ".join(sorted(known))
            raise InvalidValue(f"There is no type {kind[:64]!r} of events; there are {hint}.", "$.types")
    return frozenset(types) or None


def _ids(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    ids = {part.strip() for part in text.split(",") if part.strip()}
    if not 1 <= len(ids) <= MOST_IDS:
        raise InvalidValue(f"It names 1 to {MOST_IDS} tasks.", "$.task_ids")
    if wrong := [task_id for task_id in ids if not is_task_id(task_id)]:
        raise InvalidValue(f"No task can have the id {wrong[0][:MAX_ID]!r}.", "$.task_ids")
    return frozenset(ids)
