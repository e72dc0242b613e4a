"""How many tasks of unknown outcome wait for a person's decision, as the navigation shows it."""

from collections.abc import Mapping

import msgspec

from everpost.api.console.shared import share
from everpost.api.http.reach import reached
from everpost.api.http.rights import caller_of
from everpost.api.services import ApiRequest, services_of
from everpost.errors import ServiceError
from everpost.store.history import TaskFilter
from everpost.task.model import TaskStatus

MOST = 100  # more are shown as "99+"
FOR_S = 0.5
UNDECIDED = "undecided"  # in the request's state


async def note_undecided(request: ApiRequest) -> None:
    """Count the unknown tasks that the caller reaches, at most `MOST`, for `undecided_of`.

    A store that does not answer is told of by the page itself, so here it only leaves the number out.
    """
    caller = caller_of(request)
    name = f"undecided {sorted(caller.platforms or ())} {sorted(caller.accounts or ())} {caller.is_limited}"
    try:
        found = await share(request, name, FOR_S, lambda: _count(request))
    except ServiceError:
        return
    request.scope["state"][UNDECIDED] = found


def undecided_of(request: ApiRequest) -> int:
    """What `note_undecided` has counted; 0 if it did not."""
    return int(request.scope["state"].get(UNDECIDED, 0))


async def _count(request: ApiRequest) -> int:
    """Stores keep the number by status and platform. For accounts, unknown tasks are read, at most all of them."""
    wanted = reached(request, TaskFilter(status=TaskStatus.UNKNOWN))
    left_out: Mapping[str, None] = {"platform": None} if caller_of(request).accounts else {"reach": None}
    wanted = msgspec.structs.replace(wanted, **left_out)  # either says it, and the other makes it slower
    return (await services_of(request).store.history.total(wanted, MOST)).total
