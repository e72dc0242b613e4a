"""Errors as pages, for browsers that asked for a page; other clients get the problem of RFC 9457."""

from typing import Any
from urllib.parse import quote

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from everpost.api.console.addresses import root_of
from everpost.api.console.answers import SeeOther
from everpost.api.http.problems import (
    CODE_OF_STATUS,
    Problem,
    ProblemDetails,
    answer_crash,
    answer_problem,
    answer_refusal,
    problem_of,
)
from everpost.errors import ServiceError

HTML_TYPE = "text/html"
FOR_PROGRAMS = ("/api/", "/health/", "/metrics", "/schema")


def wants_page(request: Request[Any, Any, Any]) -> bool:
    """Whether the client is a browser that shows a page of the console: it names HTML in its Accept."""
    is_page = not request.scope["path"].startswith(FOR_PROGRAMS)
    return is_page and HTML_TYPE in request.headers.get("accept", "")


def show_problem(request: Request[Any, Any, Any], error: ServiceError) -> Response[Any]:
    """The answer to an error that Everpost raised on purpose."""
    plain = answer_problem(request, error)
    return _as_page(request, plain, problem_of(error, request.scope["path"]))


def show_refusal(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """The answer to a refusal of Litestar's."""
    plain = answer_refusal(request, error)
    refusal = ServiceError(error.detail)
    refusal.code = CODE_OF_STATUS.get(error.status_code, "internal_error")  # type: ignore[call-overload]
    return _as_page(request, plain, problem_of(refusal, request.scope["path"]))


def show_crash(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The answer to an unexpected error; the log has it."""
    told = ServiceError("The page could not be made; the log says why.")
    return _as_page(request, answer_crash(request, error), problem_of(told, request.scope["path"]))


def _as_page(request: Request[Any, Any, Any], plain: Problem, problem: ProblemDetails) -> Response[Any]:
    if not wants_page(request):
        return plain
    if problem.code == "unauthorized" and request.scope["method"] == "GET":
        return Problem(SeeOther(login_address(request)))
    from everpost.api.console.pages.problem import problem_page  # noqa: PLC0415 - pages are loaded when they are asked for

    return Problem(problem_page(request, problem))


def login_address(request: Request[Any, Any, Any]) -> str:
    """The address of the login, relative to the page, with the page to come back to."""
    path, query = request.scope["path"], request.scope["query_string"].decode("latin-1")
    back = path.removeprefix("/") + (f"?{query}" if query else "")
    return f"{root_of(path)}login?next={quote(back, safe='')}"


HANDLERS_OF_PROBLEMS: ExceptionHandlersMap = {
    ServiceError: show_problem,
    HTTPException: show_refusal,
    Exception: show_crash,
}
