"""Keeps callers with a scope inside of it: what is outside is not found, not listed, and cannot be changed."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import msgspec

from everpost.access import Caller, Right
from everpost.actions.bulk.request import read_request
from everpost.api.http.rights import SCOPED, caller_of, right_of
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import (
    AccountNotFound,
    FanoutNotFound,
    Forbidden,
    OperationNotFound,
    OutOfScope,
    RecurrenceNotFound,
    TaskNotFound,
    UnknownPlatform,
)
from everpost.platforms import Catalogue
from everpost.store.history import TaskFilter
from everpost.store.operations import Operation
from everpost.task.model import MAX_ID

ACCOUNT = frozenset({"platform", "account_id"})


async def check_reach(request: ApiRequest, caller: Caller) -> None:
    """Return if the request is about what its caller, who has a scope, reaches.

    Raises:
        TaskNotFound, AccountNotFound, FanoutNotFound, RecurrenceNotFound: The path names a thing outside of the scope.
        OutOfScope: The route is about everything.
    """
    params: Mapping[str, str] = request.scope.get("path_params", {})
    for name, check in CHECKS.items():
        if name in params:
            await check(services_of(request), caller, params)
            return
    if not request.route_handler.opt.get(SCOPED):
        raise OutOfScope(caller.name)


async def check_own(request: ApiRequest, caller: Caller) -> None:
    """Refuse a publisher that would change a task of another caller.

    Raises:
        TaskNotFound: The store does not have the task.
        Forbidden: The task is another caller's, and the caller is a publisher.
    """
    task_id = request.scope.get("path_params", {}).get("task_id")
    if task_id is None or right_of(request.route_handler) is not Right.SUBMIT:
        return
    task = await services_of(request).store.history.find_task(task_id)
    if task is None:
        raise TaskNotFound(task_id)
    if task.submitted_by != caller.name:
        raise Forbidden(caller.name, caller.role, Right.OPERATE)


def need_reach(caller: Caller, platform: str, account_id: str | None, path: str = "$.account_id") -> None:
    """Return if a caller reaches an account, or the whole platform if `account_id` is None.

    Raises:
        OutOfScope: It does not.
    """
    if not caller.may_reach(platform, account_id):
        raise OutOfScope(caller.name, path)


def need_patch_in_reach(caller: Caller, patch: Mapping[str, object], path: str = "$") -> None:
    """Refuse a patch that may move tasks to another account, if the caller has a scope.

    Raises:
        OutOfScope: The patch names a platform or an account, and the caller has a scope.
    """
    if caller.is_limited and not ACCOUNT.isdisjoint(patch):
        raise OutOfScope(caller.name, path)


def reached(request: ApiRequest, wanted: TaskFilter) -> TaskFilter:
    """The filter, limited to what the caller reaches."""
    caller, catalogue = caller_of(request), services_of(request).catalogue
    if not caller.is_limited:
        return wanted
    platforms = {platform for platform, _ in caller.accounts or ()} | (caller.platforms or frozenset())
    spellings = tuple(text for platform in sorted(platforms) for text in _spellings(catalogue, platform))
    only = wanted.platform or spellings  # so that an index is followed
    return msgspec.structs.replace(wanted, platform=only, reach=reach_of(services_of(request), caller))


def reach_of(services: Services, caller: Caller) -> tuple[str, ...] | None:
    """The scope of a caller as `TaskFilter.reach` has it; None if it reaches all."""
    if not caller.is_limited:
        return None
    catalogue = services.catalogue
    accounts = tuple(
        f"{text}\n{account_id}"
        for platform, account_id in sorted(caller.accounts or ())
        for text in _spellings(catalogue, platform)
    )
    whole = tuple(text for platform in sorted(caller.platforms or ()) for text in _spellings(catalogue, platform))
    return (*whole, *accounts)


def _spellings(catalogue: Catalogue, platform: str) -> tuple[str, ...]:
    try:
        return catalogue.spellings(catalogue.find(platform))
    except UnknownPlatform:  # it was there when the key was made
        return (platform,)


async def check_task(services: Services, caller: Caller, task_id: str) -> None:
    """Return if a caller reaches a task.

    Raises:
        TaskNotFound: It does not, or the store does not have the task.
    """
    task = await services.store.history.find_task(task_id)
    platform = services.catalogue.name_of((task and task.platform) or "")
    if task is None or not caller.may_reach(platform, task.account_id):
        raise TaskNotFound(task_id)


async def is_reached(request: ApiRequest, task_id: str) -> bool:
    """Whether the caller reaches a task."""
    caller = caller_of(request)
    if not caller.is_limited:
        return True
    try:
        await check_task(services_of(request), caller, task_id)
    except TaskNotFound:
        return False
    return True


def reaches_operation(request: ApiRequest, operation: Operation) -> bool:
    """Whether the caller reaches all that bulk work was about: it was limited to that from the beginning."""
    own = reach_of(services_of(request), caller_of(request))
    if own is None:
        return True
    wanted = read_request(operation.request).filter
    return wanted is not None and wanted.reach is not None and frozenset(own).issuperset(wanted.reach)


async def check_operation(request: ApiRequest, operation_id: str) -> None:
    """Return if the caller reaches all that bulk work was about.

    Raises:
        OperationNotFound: The operation does not exist, or the caller reaches only a part of it.
    """
    if not caller_of(request).is_limited:
        return
    found = await services_of(request).store.operations.find(operation_id)
    if found is None or not reaches_operation(request, found[0]):
        raise OperationNotFound(operation_id[:MAX_ID])


async def reaches_fanout(request: ApiRequest, fanout_id: str) -> bool:
    """Whether the caller reaches all accounts of a fan-out."""
    caller = caller_of(request)
    try:
        await _check_fanout(services_of(request), caller, {"fanout_id": fanout_id})
    except FanoutNotFound:
        return not caller.is_limited
    return True


async def _check_task(services: Services, caller: Caller, params: Mapping[str, str]) -> None:
    await check_task(services, caller, params["task_id"])


async def _check_callback(services: Services, caller: Caller, params: Mapping[str, str]) -> None:
    await check_task(services, caller, params["callback_id"].partition(".")[0])


async def _check_account(services: Services, caller: Caller, params: Mapping[str, str]) -> None:
    platform = services.catalogue.name_of(params["platform"])
    if not caller.may_reach(platform, params["account_id"]):
        raise AccountNotFound(platform, params["account_id"])


async def _check_fanout(services: Services, caller: Caller, params: Mapping[str, str]) -> None:
    """A fan-out is reached if all of its accounts are."""
    fanout_id = params["fanout_id"]
    found = await services.store.batches.find(fanout_id)
    items = () if found is None else found[0].items
    names = [(services.catalogue.name_of(item.platform or ""), item.account_id) for item in items]
    if not names or not all(caller.may_reach(*name) for name in names):
        raise FanoutNotFound(fanout_id)


async def _check_recurrence(services: Services, caller: Caller, params: Mapping[str, str]) -> None:
    found = await services.recurring.find(params["recurrence_id"])
    if not caller.may_reach(found.platform, found.account_id):
        raise RecurrenceNotFound(params["recurrence_id"])


Check = Callable[[Services, Caller, Mapping[str, str]], Awaitable[None]]

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "task_id": _check_task,
        "callback_id": _check_callback,
        "account_id": _check_account,
        "fanout_id": _check_fanout,
        "recurrence_id": _check_recurrence,
    }
)
"""By the name of the parameter in a path."""
