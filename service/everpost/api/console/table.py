"""The table of the console's pages. A page's module is loaded when the page is first asked for."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from importlib import import_module
from typing import Any, NamedTuple

from litestar import route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.types import Method

from everpost.access import Right
from everpost.api.console.login import log_in, log_out, show_login
from everpost.api.console.oidc import begin_oidc, end_oidc
from everpost.api.console.problems import wants_page
from everpost.api.console.undecided import note_undecided
from everpost.api.http.audited import audited, note_of
from everpost.api.http.json_answer import BareAnswer, JsonAnswer
from everpost.api.http.parameters import PARAMETERS
from everpost.api.http.rights import PUBLIC, needs
from everpost.api.services import ApiRequest

MODULES = "everpost.api.console."

Handler = Callable[[ApiRequest], Coroutine[Any, Any, JsonAnswer]]


class Page(NamedTuple):
    """A page, or what a form of a page changes.

    Attributes:
        path: As Litestar's routes write it.
        made_by: `module:function` below this folder; the function takes the request and returns the answer.
        opt: What the route needs of its caller.
        parameters: The names of its query parameters; one with a `*` behind it may be given several times. `done`
            names a text to show, and every page has it.
    """

    path: str
    made_by: str
    opt: Mapping[str, Any]
    parameters: Sequence[str] = ()


OPEN = {PUBLIC: True}
READ_OWN, OPERATE_OWN = needs(Right.READ, scoped=True), needs(Right.OPERATE, scoped=True)  # they keep to the scope
READ, SUBMIT, OPERATE, ADMIN = (needs(right) for right in (Right.READ, Right.SUBMIT, Right.OPERATE, Right.ADMIN))

FILTER = (
    "status", "platform", "account_id", "created_after", "created_before", "error_class", "cause", "q", "batch_id",
    "retry_of", "submitted_by",
)  # fmt: skip

AUDITED = ("who", "action", "target", "how", "outcome", "after", "before")

SHOWN = (
    Page("/", "pages.now:show_now", READ_OWN, ("span",)),
    Page("/tasks", "pages.tasks:show_tasks", READ_OWN, (*FILTER, "column*", "cursor")),
    Page("/tasks/{task_id:str}", "pages.task:show_task", READ),
    Page("/tasks/{task_id:str}/edit", "pages.task_changes:show_edit", OPERATE),
    Page("/unknown", "pages.unknown:show_unknown", READ_OWN, ("task", "cursor")),
    Page("/schedule", "pages.schedule:show_schedule", READ_OWN, ("from", "day", "cursor")),
    Page("/batches", "pages.batches:show_batches", READ_OWN, ("before",)),
    Page("/batches/{batch_id:str}", "pages.batches:show_batch", READ_OWN, ("cursor",)),
    Page("/operations", "pages.bulk:show_operations", READ_OWN, ("before",)),
    Page("/operations/{operation_id:str}", "pages.bulk:show_operation", READ_OWN),
    Page("/audit", "pages.audit:show_audit", OPERATE, (*AUDITED, "cursor")),
    Page("/accounts", "pages.accounts:show_accounts", READ_OWN, ("platform", "status", "cursor")),
    Page("/accounts/new", "pages.accounts:show_new_account", ADMIN),
    Page("/accounts/{platform:str}/{account_id:str}", "pages.accounts:show_account", READ),
    Page("/platforms", "pages.platforms:show_platforms", READ_OWN),
    Page("/limits", "pages.limits:show_limits", READ_OWN),
    Page("/limits/scope", "pages.limits:show_scope", READ_OWN, ("scope",)),
    Page("/keys", "pages.keys:show_keys", ADMIN),
    Page("/help", "pages.help:show_help", READ_OWN),
)
"""The pages that are read. A client that does not ask for HTML learns that there is no such route."""

FILES = (Page("/static/{digest:str}/{name:str}", "static_files:show_file", OPEN),)

CHANGES = (
    Page("/preferences", "pages.preferences:set_preferences", OPEN),
    Page("/first-task", "pages.first_task:make_first_task", SUBMIT),
    Page("/tasks/bulk", "pages.bulk:preview_bulk", READ_OWN),
    Page("/tasks/bulk/run", "pages.bulk:run_bulk", OPERATE_OWN),
    Page("/tasks/{task_id:str}/retry", "pages.task_changes:retry_task", SUBMIT),
    Page("/tasks/{task_id:str}/cancel", "pages.task_changes:cancel_task", OPERATE),
    Page("/tasks/{task_id:str}/publish-now", "pages.task_changes:publish_task_now", OPERATE),
    Page("/tasks/{task_id:str}/remove", "pages.task_changes:remove_task", OPERATE),
    Page("/tasks/{task_id:str}/bring-back", "pages.task_changes:bring_task_back", OPERATE),
    Page("/operations/{operation_id:str}/undo", "pages.bulk:undo_operation", OPERATE_OWN),
    Page("/tasks/{task_id:str}/look-up", "pages.unknown:look_task_up", OPERATE),
    Page("/tasks/{task_id:str}/resolve", "pages.task_changes:resolve_task", OPERATE),
    Page("/tasks/{task_id:str}/edit", "pages.task_changes:edit_task", OPERATE),
    Page("/batches/{batch_id:str}/retry", "pages.batches:retry_fanout", OPERATE),
    Page("/batches/{batch_id:str}/cancel", "pages.batches:cancel_fanout", OPERATE),
    Page("/accounts/new", "pages.accounts:add_account", ADMIN),
    Page("/accounts/{platform:str}/{account_id:str}/change", "pages.accounts:change_account", ADMIN),
    Page("/accounts/{platform:str}/{account_id:str}/pause", "pages.accounts:pause_account", OPERATE),
    Page("/accounts/{platform:str}/{account_id:str}/resume", "pages.accounts:resume_account", OPERATE),
    Page("/accounts/{platform:str}/{account_id:str}/test", "pages.accounts:test_account", OPERATE),
    Page("/accounts/{platform:str}/{account_id:str}/remove", "pages.accounts:remove_account", ADMIN),
    Page("/keys", "pages.keys:create_key", ADMIN),
    Page("/keys/{key:str}/rotate", "pages.keys:rotate_key", ADMIN),
    Page("/keys/{key:str}/revoke", "pages.keys:revoke_key", ADMIN),
    Page("/limits/choose", "pages.limits:choose_scope", READ_OWN),
    Page("/limits/set", "pages.limits:set_limits", OPERATE_OWN),
    Page("/limits/pause", "pages.limits:pause_scope", OPERATE_OWN),
    Page("/limits/resume", "pages.limits:resume_scope", OPERATE_OWN),
)
"""The forms that change something. What needs more than a right to read is audited: `note_of(request).about`."""


def console_routes() -> list[HTTPRouteHandler]:
    """The routes, for the `route_handlers` of one application.

    One handler serves all pages with the same needs, and handlers answer OPTIONS themselves: a page then costs an
    application 6 KB instead of 21. A change has a handler of its own, by whose name it is known.
    """
    alike: dict[tuple[tuple[str, Any], ...], list[Page]] = {}
    for page in SHOWN:
        alike.setdefault(tuple(page.opt.items()), []).append(page)
    shown = {page.path for page in SHOWN}
    files = [_route("GET", [page], handle_file) for page in FILES]
    pages = [_route("GET", group, _pages_of(group)) for group in alike.values()]
    changes = [_route("POST", [page], _change_of(page), has_options=page.path not in shown) for page in CHANGES]
    return [*files, *pages, *changes, show_login, log_in, log_out, begin_oidc, end_oidc]


def _route(method: Method, pages: Sequence[Page], handler: Handler, *, has_options: bool = True) -> HTTPRouteHandler:
    names = {template_of(page): ("done", *page.parameters) for page in pages}

    async def handle(request: ApiRequest) -> JsonAnswer:
        if request.scope["method"] == "OPTIONS":
            return BareAnswer(HTTPStatus.NO_CONTENT, {"allow": _allowed(request.scope["path_template"])})
        return await handler(request)

    handle.__name__ = handle.__qualname__ = handler.__name__
    handle.is_audited = getattr(handler, "is_audited", False)  # type: ignore[attr-defined]  # a test looks for it
    methods: list[Method] = [method, "OPTIONS"] if has_options else [method]
    opt = {**pages[0].opt, PARAMETERS: names}
    paths = [page.path for page in pages]
    decorate = route(paths, http_method=methods, opt=opt, include_in_schema=False, status_code=HTTPStatus.OK)
    return decorate(handle)


def _pages_of(pages: Sequence[Page]) -> Handler:
    by_template = {template_of(page): page for page in pages}

    async def show_page(request: ApiRequest) -> JsonAnswer:
        if not wants_page(request):
            raise NotFoundException  # as before the console existed
        await note_undecided(request)
        return await _make(by_template[request.scope["path_template"]], request)

    return show_page


def _change_of(page: Page) -> Handler:
    async def change(request: ApiRequest) -> JsonAnswer:
        note_of(request).is_needed = False  # until it says what it changes: a form with a mistake is shown again
        return await _make(page, request)

    change.__name__ = page.made_by.partition(":")[2]
    return audited(change) if page.opt in (SUBMIT, OPERATE, OPERATE_OWN, ADMIN) else change


async def handle_file(request: ApiRequest) -> JsonAnswer:
    """Answer with a file of the console."""
    return await _make(FILES[0], request)


async def _make(page: Page, request: ApiRequest) -> JsonAnswer:
    module, _, function = page.made_by.partition(":")
    make: Handler = getattr(import_module(MODULES + module), function)
    return await make(request)


def template_of(page: Page) -> str:
    """The path as Litestar tells it with a request: without the types of its parameters."""
    return page.path.replace(":str}", "}")


def _allowed(template: str) -> str:
    """The methods of a path, for `Allow`."""
    gets = any(template_of(page) == template for page in (*SHOWN, *FILES))
    posts = any(template_of(page) == template for page in CHANGES)
    return ", ".join([*(["GET", "HEAD"] if gets else []), "OPTIONS", *(["POST"] if posts else [])])
