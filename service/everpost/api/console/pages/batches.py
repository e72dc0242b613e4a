"""Batches, and fan-outs with each of their accounts."""

from contextlib import suppress

from everpost.api.console.answers import SeeOther
from everpost.api.console.forms import read_form
from everpost.api.console.frame import render
from everpost.api.http.audited import note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import reached, reaches_fanout
from everpost.api.routes.batches import batches_within
from everpost.api.services import ApiRequest, services_of
from everpost.errors import FanoutNotFound
from everpost.store.history import TaskFilter
from everpost.views.fanout_views import FanoutView

BATCHES = 25
ROWS = 100


async def show_batches(request: ApiRequest) -> JsonAnswer:
    """Answer with the list."""
    found, following = await batches_within(request, request.query_params.get("before") or None, BATCHES)
    return render(request, "batches.html", batches=found, following=following)


async def show_batch(request: ApiRequest) -> JsonAnswer:
    """Answer with a batch: the accounts of a fan-out, or the tasks of any other.

    A caller with a scope is shown the tasks inside of it, and the accounts if it reaches all of them.
    """
    services = services_of(request)
    batch_id = request.path_params["batch_id"]
    fanout: FanoutView | None = None
    if await reaches_fanout(request, batch_id):
        with suppress(FanoutNotFound):
            fanout = await services.fanout_views.show(batch_id)
    wanted = reached(request, TaskFilter(batch_id=batch_id))
    page = await services.tasks.page(wanted, request.query_params.get("cursor"), ROWS)
    return render(request, "batch.html", batch_id=batch_id, fanout=fanout, page=page)


async def retry_fanout(request: ApiRequest) -> JsonAnswer:
    """Retry the accounts of a fan-out that failed."""
    await read_form(request)
    answer = await services_of(request).fanouts.retry(request.path_params["batch_id"])
    note_of(request).about(request.path_params["batch_id"], operation_id=answer.operation_id, tasks=answer.total)
    return SeeOther(f"../../operations/{answer.operation_id}")


async def cancel_fanout(request: ApiRequest) -> JsonAnswer:
    """Cancel the tasks of a fan-out that wait."""
    await read_form(request)
    answer = await services_of(request).fanouts.cancel(request.path_params["batch_id"])
    note_of(request).about(request.path_params["batch_id"], operation_id=answer.operation_id, tasks=answer.total)
    return SeeOther(f"../../operations/{answer.operation_id}")
