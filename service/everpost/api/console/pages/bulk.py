"""What is done to many tasks: a preview with its numbers, then the work, and how far it has come."""

from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from everpost.access.roles import ANONYMOUS
from everpost.actions.bulk import BulkAnswer, BulkKind, BulkRequest
from everpost.api.console.answers import SeeOther
from everpost.api.console.forms import read_fields, read_form
from everpost.api.console.frame import render
from everpost.api.console.pages.task_filter import WantedTasks, filter_of, read_wanted
from everpost.api.http.audited import by_of, note_of
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.reach import check_operation, reached
from everpost.api.http.rights import caller_of
from everpost.api.routes.many_tasks import check_name
from everpost.api.routes.operations import operations_within, undo_of
from everpost.api.services import ApiRequest, services_of
from everpost.errors import InvalidValue, OperationNotFound, ServiceError
from everpost.store.audit import MOST_NAMED
from everpost.store.changes import Outcome
from everpost.store.history import TaskFilter
from everpost.task.resolution_rules import DecisionKind
from everpost.views.bulk_answers import REASONS, listed_operation

KINDS = {"retry": BulkKind.RETRY, "cancel": BulkKind.CANCEL, "delete": BulkKind.DELETE, "resolve": BulkKind.RESOLVE}
DECISIONS = {str(one): one for one in DecisionKind}
FORCED = {"outcome_unknown", "task_succeeded", "task_running"}
SAMPLES = 5
OPERATIONS = 50


class Skipped(NamedTuple):
    """Tasks that are left out for one reason, with some of their ids."""

    code: str
    meaning: str
    tasks: int
    task_ids: Sequence[str]


class BulkForm(msgspec.Struct, frozen=True, kw_only=True):
    """What a form wants done, to the selected tasks or to all that match its filter."""

    kind: BulkKind
    wanted: WantedTasks
    task_ids: tuple[str, ...] | None
    force: bool
    decision: DecisionKind | None = None
    by: str | None = None
    why: str | None = None


async def preview_bulk(request: ApiRequest) -> JsonAnswer:
    """Answer with what would be done; nothing is."""
    services = services_of(request)
    form, answer, error = None, None, None
    try:
        form = read_bulk(await read_fields(request))
        answer = await services.bulk.run(request_of(request, form), dry_run=True)
    except ServiceError as refused:
        error = refused
    return render(
        request,
        "bulk.html",
        status=HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        form=form,
        answer=answer,
        error=error,
        skipped=[] if answer is None else skipped_by_reason(answer),
        asks_name=caller_of(request).name == ANONYMOUS,
        can_force=answer is not None and any(one.reason in FORCED for one in answer.skipped),
    )


async def run_bulk(request: ApiRequest) -> JsonAnswer:
    """Do it, and go to its progress."""
    form = read_bulk(await read_fields(request))
    if form.kind is BulkKind.RESOLVE and (form.why is None or form.decision is None):
        raise InvalidValue("Say what you found, and what you decide.", "$.why")
    if form.kind is BulkKind.RESOLVE:
        check_name(request, form.by)
    answer = await services_of(request).bulk.run(request_of(request, form))
    note_of(request).about(
        answer.operation_id,
        kind=str(form.kind),
        by=form.by,
        why=form.why,
        decision=form.decision,
        force=form.force,
        filter=dict(form.wanted.given) if form.task_ids is None else None,
        task_ids=list((form.task_ids or ())[:MOST_NAMED]),
        tasks=answer.total,
    )
    return SeeOther(f"../../operations/{answer.operation_id}")


async def undo_operation(request: ApiRequest) -> JsonAnswer:
    """Bring back what it removed, or retry what it cancelled and go to the progress of that."""
    await read_form(request)
    operation_id = request.path_params["operation_id"]
    answer = await undo_of(request, operation_id)
    if answer.operation_id is None:
        return SeeOther(f"../{operation_id}?done=undone")
    return SeeOther(f"../{answer.operation_id}?done=retried_again")


def read_bulk(fields: Sequence[tuple[str, str]]) -> BulkForm:
    """What a form wants done.

    Raises:
        InvalidValue: It does not say what, or to which tasks.
    """
    form = dict(fields)
    kind = KINDS.get(form.get("kind", ""))
    if kind is None:
        raise InvalidValue(f"Choose one of {', '.join(KINDS)}.", "$.kind")
    wanted = read_wanted(fields)
    selected = tuple(dict.fromkeys(value for name, value in fields if name == "task" and value))
    is_all = form.get("which") == "all"
    if not selected and not is_all:
        raise InvalidValue("Select tasks first, or choose all that match.", "$.task")
    if is_all and not wanted.given:
        raise InvalidValue("Give the list a filter first: without one, this would be every task.", "$.which")
    return BulkForm(
        kind=kind,
        wanted=wanted,
        task_ids=None if is_all else selected,
        force=form.get("force") == "1",
        decision=DECISIONS.get(form.get("decision", "")),
        by=form.get("by") or None,
        why=form.get("why") or None,
    )


def request_of(request: ApiRequest, form: BulkForm) -> BulkRequest:
    """The request for bulk work."""
    services = services_of(request)
    if form.task_ids is None:
        wanted: TaskFilter | None = reached(request, filter_of(services, form.wanted.given))
    else:  # with a scope, ids have a filter, too
        wanted = reached(request, TaskFilter()) if caller_of(request).is_limited else None
    decides = form.kind is BulkKind.RESOLVE
    return BulkRequest(
        kind=form.kind,
        task_ids=form.task_ids,
        filter=wanted,
        force=form.force,
        by=by_of(caller_of(request), form.by) if decides else None,
        why=form.why if decides else None,
        decision=form.decision or DecisionKind.SUCCEEDED if decides else None,
    )


def skipped_by_reason(answer: BulkAnswer) -> list[Skipped]:
    """The tasks left out, the most frequent reason first."""
    by_code: dict[str, list[Outcome]] = {}
    for one in answer.skipped:
        by_code.setdefault(one.reason or "", []).append(one)
    counted = Counter({code: len(found) for code, found in by_code.items()})
    return [
        Skipped(code, REASONS.get(code, code), count, [one.task_id for one in by_code[code][:SAMPLES]])
        for code, count in counted.most_common()
    ]


async def show_operations(request: ApiRequest) -> JsonAnswer:
    """Answer with the list of bulk work."""
    before = request.query_params.get("before") or None
    found, following = await operations_within(request, before, OPERATIONS)
    return render(request, "operations.html", operations=[listed_operation(one) for one in found], following=following)


async def show_operation(request: ApiRequest) -> JsonAnswer:
    """Answer with the progress of bulk work."""
    services = services_of(request)
    operation_id = request.path_params["operation_id"]
    await check_operation(request, operation_id)
    found = await services.store.operations.find(operation_id)
    if found is None:
        raise OperationNotFound(operation_id[:64])
    answer = await services.bulk.progress(operation_id)
    shown: Any = listed_operation(found[0])
    return render(
        request,
        "operation.html",
        operation=shown,
        answer=answer,
        skipped=skipped_by_reason(answer),
        undone_by=await services.store.operations.find_undo(operation_id),
    )
