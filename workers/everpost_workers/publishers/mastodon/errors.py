"""What a server's refusals mean for a task."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from everpost.publishing import (
    AuthError,
    InvalidError,
    NeedsPersonError,
    OutcomeUnknownError,
    PermanentError,
    PublishError,
    TransientError,
)
from everpost_workers.publishers.api_answer import ApiAnswer, clean_text

ERROR_OF_STATUS: Mapping[int, type[PublishError]] = {
    HTTPStatus.BAD_REQUEST: InvalidError,
    HTTPStatus.UNAUTHORIZED: AuthError,
    HTTPStatus.FORBIDDEN: AuthError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: InvalidError,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: InvalidError,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidError,
}
"""Other statuses of 500 and above are transient, or unknown if the request posts; all others are permanent."""

FOR_A_PERSON = ("confirmed e-mail", "pending approval")


def error_of(answer: ApiAnswer, host: str, now_ms: int, *, posts: bool = False) -> PublishError:
    """The error for an answer that is not a success.

    Args:
        posts: The request may have published the post.
    """
    words = clean_text(answer.text_at("error") or "") or answer.excerpt
    told = f"{host} answered {answer.status}{': ' if words else ''}{words}".rstrip(".") + "."
    if answer.is_wait and (not posts or not answer.is_server_error):
        return answer.rate_limit(host, _reset_s(answer, now_ms), now_ms)
    if answer.is_server_error:
        return OutcomeUnknownError(told) if posts else TransientError(told)
    error_type = ERROR_OF_STATUS.get(answer.status, PermanentError)
    if error_type is AuthError and any(mark in words for mark in FOR_A_PERSON):
        error_type = NeedsPersonError
    return error_type(told)


def _reset_s(answer: ApiAnswer, now_ms: int) -> float | None:
    """Seconds until X-RateLimit-Reset (https://docs.joinmastodon.org/api/rate-limits/): a time in ISO 8601."""
    try:
        reset = datetime.fromisoformat(answer.headers["X-RateLimit-Reset"])
    except (KeyError, ValueError):
        return None
    zoned = reset if reset.tzinfo is not None else reset.replace(tzinfo=UTC)
    return zoned.timestamp() - now_ms / 1000
