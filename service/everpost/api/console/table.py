"""The table of the console's pages. A page's module is loaded when the page is first asked for."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, cast

from litestar import get, post
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler

from everpost.api.console.problems import wants_page
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.http.parameters import PARAMETERS
from everpost.api.http.tokens import PUBLIC
from everpost.api.services import ApiRequest

MODULES = "everpost.api.console."

Handler = Callable[[ApiRequest], Awaitable[JsonAnswer]]


class Page(NamedTuple):
    """A page, or what a form of a page changes.

    Attributes:
        path: As Litestar's routes write it.
        made_by: `module:function` below this folder; the function takes the request and returns the answer.
        opt: What the route needs of its caller.
        parameters: The names of its query parameters. `done` names a text to show, and every page has it.
    """

    path: str
    made_by: str
    opt: Mapping[str, Any] = {}
    parameters: Sequence[str] = ()


OPEN = {PUBLIC: True}
READ: Mapping[str, Any] = {}

SHOWN = (
    Page("/", "pages.now:show_now"),
    Page("/accounts", "pages.accounts:show_accounts", READ, ("platform", "status", "cursor")),
    Page("/accounts/new", "pages.accounts:show_new_account"),
    Page("/accounts/{platform:str}/{account_id:str}", "pages.accounts:show_account"),
    Page("/platforms", "pages.platforms:show_platforms"),
    Page("/limits", "pages.limits:show_limits"),
    Page("/limits/scope", "pages.limits:show_scope", READ, ("scope",)),
    Page("/help", "pages.help:show_help"),
)
"""The pages that are read. A client that does not ask for HTML learns that there is no such route."""

FILES = (Page("/static/{digest:str}/{name:str}", "static_files:show_file", OPEN),)

CHANGES = (
    Page("/preferences", "pages.preferences:set_preferences", OPEN),
    Page("/first-task", "pages.first_task:make_first_task"),
    Page("/accounts/new", "pages.accounts:add_account"),
    Page("/accounts/{platform:str}/{account_id:str}/change", "pages.accounts:change_account"),
    Page("/accounts/{platform:str}/{account_id:str}/pause", "pages.accounts:pause_account"),
    Page("/accounts/{platform:str}/{account_id:str}/resume", "pages.accounts:resume_account"),
    Page("/accounts/{platform:str}/{account_id:str}/test", "pages.accounts:test_account"),
    Page("/accounts/{platform:str}/{account_id:str}/remove", "pages.accounts:remove_account"),
    Page("/limits/choose", "pages.limits:choose_scope"),
    Page("/limits/set", "pages.limits:set_limits"),
    Page("/limits/pause", "pages.limits:pause_scope"),
    Page("/limits/resume", "pages.limits:resume_scope"),
)
"""The forms that change something."""


def console_routes() -> list[HTTPRouteHandler]:
    """The routes, for the `route_handlers` of one application."""
    return [*(_route(get, page) for page in (*SHOWN, *FILES)), *(_route(post, page) for page in CHANGES)]


def _route(method: Callable[..., Any], page: Page) -> HTTPRouteHandler:
    module, _, function = page.made_by.partition(":")

    async def handler(request: ApiRequest) -> JsonAnswer:
        if page in SHOWN and not wants_page(request):
            raise NotFoundException  # as before there was a console
        make: Handler = getattr(import_module(MODULES + module), function)
        return await make(request)

    handler.__name__ = handler.__qualname__ = function
    opt = {**page.opt, PARAMETERS: ("done", *page.parameters)}
    route = method(page.path, opt=opt, include_in_schema=False, status_code=200)(handler)
    return cast("HTTPRouteHandler", route)
