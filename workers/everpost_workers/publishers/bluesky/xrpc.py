"""Answers of the AT protocol's HTTP interface (https://atproto.com/specs/xrpc): what each means for a task."""

from collections.abc import Mapping
from http import HTTPStatus

from everpost.publishing import (
    AccountBlockedError,
    AuthError,
    InvalidError,
    NeedsPersonError,
    OutcomeUnknownError,
    PermanentError,
    PublishError,
    TransientError,
)
from everpost_workers.publishers.api_answer import ApiAnswer, clean_text

EXPIRED = frozenset({"ExpiredToken", "InvalidToken"})
"""The session is over. https://docs.bsky.app/docs/api/com-atproto-server-refresh-session"""

SIGN_IN_AGAIN = frozenset({*EXPIRED, "AuthMissing", "AuthenticationRequired", "AuthRequired", "AccountNotFound"})

ERROR_OF_NAME: Mapping[str, type[PublishError]] = {
    **dict.fromkeys(SIGN_IN_AGAIN, AuthError),
    **dict.fromkeys(("AccountTakedown", "AccountSuspended", "RepoTakendown", "RepoSuspended"), AccountBlockedError),
    "AuthFactorTokenRequired": NeedsPersonError,  # an app password needs no code
}
ERROR_OF_STATUS: Mapping[int, type[PublishError]] = {
    HTTPStatus.BAD_REQUEST: InvalidError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: InvalidError,
    HTTPStatus.UNAUTHORIZED: AuthError,
    HTTPStatus.FORBIDDEN: AuthError,
}
"""Other statuses of 500 and above are transient, or unknown if the request posts; all others are permanent."""


def error_name(answer: ApiAnswer) -> str:
    """The name of the error; empty if the answer has none."""
    return answer.text_at("error") or ""


def is_expired(answer: ApiAnswer) -> bool:
    """Whether the access token is no longer accepted, so that nothing was done."""
    refusals = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    return answer.status in refusals and error_name(answer) in EXPIRED


def error_of(answer: ApiAnswer, host: str, now_ms: int, *, posts: bool = False) -> PublishError:
    """The error for an answer that is not a success.

    Args:
        posts: The request may have published the post.
    """
    if answer.is_wait and (not posts or not answer.is_server_error):
        return answer.rate_limit(host, _reset_s(answer, now_ms), now_ms)
    error_type = ERROR_OF_NAME.get(error_name(answer)) or ERROR_OF_STATUS.get(answer.status, PermanentError)
    if answer.is_server_error:
        error_type = OutcomeUnknownError if posts else TransientError
    return error_type(_told(answer, host))


def _told(answer: ApiAnswer, host: str) -> str:
    words = ": ".join(clean_text(text) for name in ("error", "message") if (text := answer.text_at(name)))
    words = words or answer.excerpt
    return f"{host} answered {answer.status}{': ' if words else ''}{words}".rstrip(".") + "."


def _reset_s(answer: ApiAnswer, now_ms: int) -> float | None:
    """Seconds until the limit ends (https://docs.bsky.app/docs/advanced-guides/rate-limits)."""
    try:
        return float(answer.headers["ratelimit-reset"]) - now_ms / 1000
    except (KeyError, ValueError, OverflowError):
        return None
