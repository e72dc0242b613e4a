"""Batches, and fan-outs with each of their accounts."""

from contextlib import suppress

from everpost.api.console.answers import SeeOther
from everpost.api.console.forms import read_form
from everpost.api.console.frame import render
from everpost.api.http.audited import note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.services import ApiRequest, services_of
from everpost.errors import FanoutNotFound
from everpost.store.history import TaskFilter
from everpost.views.fanout_views import FanoutView

BATCHES = 25
ROWS = 100


async def show_batches(request: ApiRequest) -> JsonAnswer:
    """Answer with the list."""
    found = await services_of(request).store.batches.page(request.query_params.get("before") or None, BATCHES + 1)
    following = found[BATCHES - 1].batch_id if len(found) > BATCHES else None
    shown = [services_of(request).hiding.row(one) for one in found[:BATCHES]]
    return render(request, "batches.html", batches=shown, following=following)


async def show_batch(request: ApiRequest) -> JsonAnswer:
    """Answer with a batch: the accounts of a fan-out, or the tasks of any other."""
    services = services_of(request)
    batch_id = request.path_params["batch_id"]
    fanout: FanoutView | None = None
    with suppress(FanoutNotFound):
        fanout = await services.fanout_views.show(batch_id)
    page = await services.tasks.page(TaskFilter(batch_id=batch_id), request.query_params.get("cursor"), ROWS)
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
