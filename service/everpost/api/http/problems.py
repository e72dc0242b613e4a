"""Turns every error into an HTTP answer: RFC 9457 problem details, from the one table that maps codes to statuses.

Litestar's plugin for problem details is not used: problems are also answered where Litestar takes no part, by
`direct.py` and by the server's protocol.
"""

from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from everpost.api.http.json_answer import JsonAnswer
from everpost.errors import InvalidValue, ServiceError
from everpost.task.resolution_rules import Decided

log = structlog.get_logger("everpost.api")

PROBLEM_JSON = "application/problem+json"

STATUS_OF_CODE = MappingProxyType(
    {
        "malformed_json": HTTPStatus.BAD_REQUEST,
        "bad_input": HTTPStatus.BAD_REQUEST,
        "unauthorized": HTTPStatus.UNAUTHORIZED,
        "forbidden": HTTPStatus.FORBIDDEN,
        "out_of_scope": HTTPStatus.FORBIDDEN,
        "sign_in_refused": HTTPStatus.FORBIDDEN,
        "link_refused": HTTPStatus.FORBIDDEN,
        "foreign_host": HTTPStatus.FORBIDDEN,
        "foreign_origin": HTTPStatus.FORBIDDEN,
        "route_not_found": HTTPStatus.NOT_FOUND,
        "task_not_found": HTTPStatus.NOT_FOUND,
        "operation_not_found": HTTPStatus.NOT_FOUND,
        "file_not_found": HTTPStatus.NOT_FOUND,
        "account_not_found": HTTPStatus.NOT_FOUND,
        "fanout_not_found": HTTPStatus.NOT_FOUND,
        "recurrence_not_found": HTTPStatus.NOT_FOUND,
        "key_not_found": HTTPStatus.NOT_FOUND,
        "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
        "conflict": HTTPStatus.CONFLICT,
        "key_exists": HTTPStatus.CONFLICT,
        "last_admin_key": HTTPStatus.CONFLICT,
        "account_exists": HTTPStatus.CONFLICT,
        "task_running": HTTPStatus.CONFLICT,
        "task_held": HTTPStatus.CONFLICT,
        "task_unreadable": HTTPStatus.CONFLICT,
        "task_succeeded": HTTPStatus.CONFLICT,
        "task_ended": HTTPStatus.CONFLICT,
        "retry_exists": HTTPStatus.CONFLICT,
        "duplicate_post": HTTPStatus.CONFLICT,
        "outcome_unknown": HTTPStatus.CONFLICT,
        "nothing_to_decide": HTTPStatus.CONFLICT,
        "task_not_cancelled": HTTPStatus.CONFLICT,
        "already_decided": HTTPStatus.CONFLICT,
        "tasks_pending": HTTPStatus.CONFLICT,
        "task_changing": HTTPStatus.CONFLICT,
        "attempt_open": HTTPStatus.CONFLICT,
        "recurrence_exists": HTTPStatus.CONFLICT,
        "recurrence_changed": HTTPStatus.CONFLICT,
        "idempotency_key_in_use": HTTPStatus.CONFLICT,
        "file_in_use": HTTPStatus.CONFLICT,
        "wrong_offset": HTTPStatus.CONFLICT,
        "unsupported_tus_version": HTTPStatus.PRECONDITION_FAILED,
        "body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "unsupported_media_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "range_not_satisfiable": HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        "invalid_value": HTTPStatus.UNPROCESSABLE_ENTITY,
        "unknown_platform": HTTPStatus.UNPROCESSABLE_ENTITY,
        "unknown_file": HTTPStatus.UNPROCESSABLE_ENTITY,
        "unknown_account": HTTPStatus.UNPROCESSABLE_ENTITY,
        "account_blocked": HTTPStatus.UNPROCESSABLE_ENTITY,
        "skipped_time": HTTPStatus.UNPROCESSABLE_ENTITY,
        "idempotency_key_reused": HTTPStatus.UNPROCESSABLE_ENTITY,
        "upload_locked": HTTPStatus.LOCKED,
        "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
        "internal_error": HTTPStatus.INTERNAL_SERVER_ERROR,
        "settings_error": HTTPStatus.INTERNAL_SERVER_ERROR,
        "unsupported_transfer_coding": HTTPStatus.NOT_IMPLEMENTED,
        "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
        "database_busy": HTTPStatus.SERVICE_UNAVAILABLE,
        "database_unwritable": HTTPStatus.SERVICE_UNAVAILABLE,
        "write_unconfirmed": HTTPStatus.SERVICE_UNAVAILABLE,
        "database_unusable": HTTPStatus.SERVICE_UNAVAILABLE,
        "database_damaged": HTTPStatus.SERVICE_UNAVAILABLE,
        "queue_unreachable": HTTPStatus.SERVICE_UNAVAILABLE,
        "account_not_tested": HTTPStatus.SERVICE_UNAVAILABLE,
        "sign_in_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
        "search_timeout": HTTPStatus.SERVICE_UNAVAILABLE,
        "backlog_full": HTTPStatus.SERVICE_UNAVAILABLE,
        "disk_full": HTTPStatus.SERVICE_UNAVAILABLE,
        "quota_exceeded": HTTPStatus.INSUFFICIENT_STORAGE,
    }
)
"""The HTTP status of every code; errors.py says what each code means."""

CODE_OF_STATUS = MappingProxyType(
    {
        HTTPStatus.BAD_REQUEST: "bad_input",
        HTTPStatus.NOT_FOUND: "route_not_found",
        HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    }
)
"""Everpost's codes for Litestar's own refusals."""


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error in the form of RFC 9457, with `success` and a `code` that never changes its meaning."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    success: bool
    code: str
    path: str | None = None
    retry_after: int | None = None
    task_id: str | None = None
    task_ids: list[str] | None = None
    offset: int | None = None
    decision: Decided | None = None
    neighbours: tuple[str, str] | None = None


def problem_of(error: ServiceError, instance: str) -> ProblemDetails:
    """The problem details of an error; `instance` is the request's path."""
    status = STATUS_OF_CODE[error.code]
    return ProblemDetails(
        type=f"urn:everpost:problem:{error.code}",
        title=status.phrase,
        status=status,
        detail=error.message,
        instance=instance,
        success=False,
        code=error.code,
        path=getattr(error, "path", None),
        retry_after=getattr(error, "retry_after_s", None),
        task_id=getattr(error, "task_id", None),
        task_ids=getattr(error, "task_ids", None),
        offset=getattr(error, "offset", None),
        decision=getattr(error, "decision", None),
        neighbours=getattr(error, "neighbours", None),
    )


def answer_problem(request: Request[Any, Any, Any], error: ServiceError) -> "Problem":
    """The HTTP answer to an error that Everpost raised on purpose."""
    problem = problem_of(error, request.scope["path"])
    if problem.path is not None and request.scope["method"] == "GET":  # without a body, the path means a parameter
        problem = msgspec.structs.replace(problem, path=problem.path.replace("$.", "?", 1))
    headers: dict[str, str] = dict(error.headers)
    if problem.retry_after is not None:
        headers["retry-after"] = str(problem.retry_after)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request.refused", code=problem.code, detail=problem.detail, path=problem.instance)
    return Problem(JsonAnswer(problem, problem.status, media_type=PROBLEM_JSON, headers=headers))


def answer_refusal(request: Request[Any, Any, Any], error: HTTPException) -> "Problem":
    """The HTTP answer to Litestar's refusals: an unknown route, a wrong method, an invalid parameter."""
    if isinstance(error, ValidationException):
        return answer_problem(request, _invalid_parameter(error))
    code = CODE_OF_STATUS.get(HTTPStatus(error.status_code))
    if code is None:
        return answer_crash(request, error)
    refusal = ServiceError(error.detail)
    refusal.code = code
    answer = answer_problem(request, refusal)
    for name, value in (error.headers or {}).items():
        answer.set_header(name, _with_head(value) if name == "allow" else value)
    return answer


def _with_head(allowed: str) -> str:
    """The methods of an `Allow` header in order, with HEAD, which works wherever GET does."""
    methods = set(allowed.split(", "))
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def answer_crash(request: Request[Any, Any, Any], error: Exception) -> "Problem":
    """The answer to an unexpected error: the client learns nothing of it, the log has everything."""
    log.error("request.crashed", path=request.scope["path"], method=request.scope["method"], exc_info=error)
    return answer_problem(request, ServiceError("The request could not be served; the log says why."))


def answer_error(request: Request[Any, Any, Any], error: Exception) -> JsonAnswer:
    """The HTTP answer to any error of a handler."""
    answer = answer_problem(request, error) if isinstance(error, ServiceError) else answer_crash(request, error)
    return answer.to_asgi_response()


def _invalid_parameter(error: ValidationException) -> InvalidValue:
    """Litestar's error as an `InvalidValue`; `extra` is a list of {key, message, source}."""
    faults = error.extra if isinstance(error.extra, list) else []
    for fault in faults:
        return InvalidValue(f"{fault.get('message', error.detail)}.", f"?{fault.get('key', '')}")
    return InvalidValue(f"{error.detail}.", "?")


class Problem(Response[None]):
    """Carries a finished answer through Litestar's exception handling."""

    def __init__(self, answer: JsonAnswer) -> None:
        super().__init__(None, status_code=answer.status_code)
        self._answer = answer

    def set_header(self, key: str, value: Any) -> None:
        """Add a header."""
        self._answer.add_header(key, str(value))

    def to_asgi_response(self, *args: Any, **kwargs: Any) -> JsonAnswer:
        """The answer itself."""
        del args, kwargs
        return self._answer
