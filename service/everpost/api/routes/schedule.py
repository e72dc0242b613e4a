"""What is due."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from everpost.access import Right
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import reach_of
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import documented
from everpost.api.services import ApiRequest, services_of
from everpost.store.history import MAX_LIMIT
from everpost.views.agenda import Agenda, find_agenda, read_range


class AgendaAnswer(Agenda, frozen=True, kw_only=True):
    """What is due, the earliest first. Times are UTC text.

    Attributes:
        upcoming: Of the same time as the page of tasks: all of them on the first page, none on later ones.
        next_cursor: The `cursor` of the next page of tasks; null on the last.
    """

    success: bool = True


@get(
    "/schedule",
    summary="Show what is due",
    description="The scheduled tasks that are due on some days, the earliest first, their numbers by day, and the "
    "posts that recurring posts will make. Days are those of `EVERPOST_TIMEZONE`. A key with a scope is shown what is "
    "inside of it; an answer may then have fewer tasks than `limit`, and not be the last.",
    tags=["Tasks"],
    opt=needs(Right.READ, scoped=True),
    **documented(AgendaAnswer, description="What is due."),
)
async def show_schedule(
    request: ApiRequest,
    first: Annotated[str | None, QueryParameter(max_length=10, description="The first day; default today.")] = None,
    last: Annotated[
        str | None, QueryParameter(max_length=10, description="The last day; default 13 days later.")
    ] = None,
    cursor: Annotated[
        str | None, QueryParameter(max_length=2_000, description="`next_cursor` of the previous answer.")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="The most tasks in one answer.")] = 50,
) -> JsonAnswer:
    """Answer with what is due."""
    services = services_of(request)
    days = read_range(first, last, services.clock(), services.settings.zone)
    reach, now_ms = reach_of(services, caller_of(request)), services.clock()
    found = await find_agenda(services.store, services.zones, services.hiding, days, now_ms, cursor, limit, reach)
    return JsonAnswer(AgendaAnswer(**msgspec.structs.asdict(found)))
