"""The table of all routes, and where they are mounted."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Self

from litestar import HttpMethod, Router, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ControllerRouterHandler

from everpost.access import Right
from everpost.api.http.json_answer import BareAnswer
from everpost.api.http.rights import needs
from everpost.api.routes.accounts import (
    add_account,
    change_account,
    list_accounts,
    pause_account,
    remove_account,
    resume_account,
    show_account,
    test_account,
)
from everpost.api.routes.audit import export_audit, list_audit
from everpost.api.routes.batches import list_batches
from everpost.api.routes.callbacks import list_callbacks, redeliver_callback
from everpost.api.routes.clearing import archive_tasks, clear_tasks
from everpost.api.routes.edit import edit_task, edit_tasks, publish_now, publish_tasks_now
from everpost.api.routes.events import follow_events, follow_task
from everpost.api.routes.export import export_tasks
from everpost.api.routes.fanout import cancel_fanout, publish_fanout, retry_fanout, show_fanout
from everpost.api.routes.files import delete_file, list_files, show_file, upload_file
from everpost.api.routes.files_content import continue_upload, download_file, show_upload_options
from everpost.api.routes.keys import create_key, list_keys, revoke_key, rotate_key, show_caller
from everpost.api.routes.limits import pause_scope, resume_scope, set_limits, show_limits
from everpost.api.routes.liveness import show_liveness, show_readiness
from everpost.api.routes.look_ups import look_task_up, show_look_up
from everpost.api.routes.many_tasks import cancel_tasks, delete_tasks, retry_tasks
from everpost.api.routes.one_task import bring_task_back, cancel_task, delete_task, retry_task, show_task
from everpost.api.routes.operations import list_operations, show_operation, undo_operation
from everpost.api.routes.overview import list_failures, show_timeline
from everpost.api.routes.pause import resume_dispatch, show_dispatch
from everpost.api.routes.prometheus import show_metrics
from everpost.api.routes.publish import publish_task
from everpost.api.routes.publish_batch import publish_batch
from everpost.api.routes.recurring import (
    add_recurring,
    edit_recurring,
    list_recurring,
    pause_recurring,
    remove_recurring,
    resume_recurring,
    show_next_times,
    show_recurring,
)
from everpost.api.routes.resolve import resolve_task, resolve_tasks
from everpost.api.routes.schedule import show_schedule
from everpost.api.routes.stats import list_platforms, show_queue_health, show_stats
from everpost.api.routes.task_lists import complete_id, list_recent_ends, list_tasks
from everpost.api.services import ApiRequest

PREFIX = "/api/v1"
TYPE = re.compile(r":\w+(?=\})")  # of a parameter, which Litestar leaves out where it tells the path of a request
DIRECT = (f"{PREFIX}/publish", f"{PREFIX}/tasks/retry/{{task_id}}")
"""The routes that `service/everpost/api/http/direct.py` serves."""

HANDLERS = (
    publish_task,
    publish_batch,
    publish_fanout,
    show_fanout,
    retry_fanout,
    cancel_fanout,
    list_callbacks,
    redeliver_callback,
    list_platforms,
    list_tasks,
    export_tasks,
    complete_id,
    list_recent_ends,
    show_stats,
    list_failures,
    show_timeline,
    show_schedule,
    list_batches,
    show_queue_health,
    show_task,
    follow_task,
    follow_events,
    retry_task,
    resolve_task,
    look_task_up,
    show_look_up,
    edit_task,
    publish_now,
    cancel_task,
    delete_task,
    bring_task_back,
    retry_tasks,
    cancel_tasks,
    delete_tasks,
    edit_tasks,
    resolve_tasks,
    publish_tasks_now,
    clear_tasks,
    archive_tasks,
    show_upload_options,  # first: Litestar adds a handler of its own to a path that has none
    upload_file,
    list_files,
    show_file,
    continue_upload,
    download_file,
    delete_file,
    list_operations,
    show_operation,
    undo_operation,
    show_dispatch,
    resume_dispatch,
    show_limits,
    set_limits,
    pause_scope,
    resume_scope,
    list_accounts,
    add_account,
    show_account,
    change_account,
    remove_account,
    test_account,
    pause_account,
    resume_account,
    add_recurring,
    list_recurring,
    show_recurring,
    show_next_times,
    edit_recurring,
    pause_recurring,
    resume_recurring,
    remove_recurring,
    list_keys,
    create_key,
    rotate_key,
    revoke_key,
    show_caller,
    list_audit,
    export_audit,
)


def _options_handler() -> HTTPRouteHandler:
    """Answers OPTIONS on all paths, if it is registered first: else Litestar adds a handler of 15 KB to each."""
    methods: dict[str, set[str]] = {}
    for handler in HANDLERS:
        for path in handler.paths:
            methods.setdefault(path, {"OPTIONS"}).update(handler.http_methods)
    allowed = {PREFIX + TYPE.sub("", path): ", ".join(sorted(some)) for path, some in methods.items()}

    async def answer_options(request: ApiRequest) -> BareAnswer:
        return BareAnswer(HTTPStatus.NO_CONTENT, {"allow": allowed[request.scope["path_template"]]})

    paths = [path for path in methods if path not in show_upload_options.paths]
    return route(paths, http_method=HttpMethod.OPTIONS, include_in_schema=False, opt=needs(Right.READ))(answer_options)


class OneTimeRouter(Router):
    """A router of one application. Litestar would copy it and every example in it, in case another one uses it too."""

    def __deepcopy__(self, memo: object) -> Self:
        return self


def api_routes() -> Sequence[ControllerRouterHandler]:
    """The routes, for the `route_handlers` of one application."""
    api = OneTimeRouter(PREFIX, route_handlers=[_options_handler(), *HANDLERS])
    return [api, show_liveness, show_readiness, show_metrics]
