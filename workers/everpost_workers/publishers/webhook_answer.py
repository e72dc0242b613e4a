"""The meaning of a webhook's answer: pure functions of status, headers and body."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import msgspec

from everpost.publishing import (
    AuthError,
    InvalidError,
    OutcomeUnknownError,
    PermanentError,
    PublishError,
    RateLimitedError,
    TransientError,
)

RETRY_AFTER_DEFAULT_S = 60.0
RETRY_AFTER_MAX_S = 3600.0
EXCERPT_CHARACTERS = 200  # of an answer, in an error message

ERROR_OF_STATUS: Mapping[int, type[PublishError]] = {
    HTTPStatus.REQUEST_TIMEOUT: TransientError,
    HTTPStatus.TOO_EARLY: TransientError,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimitedError,
    HTTPStatus.UNAUTHORIZED: AuthError,
    HTTPStatus.FORBIDDEN: AuthError,
    HTTPStatus.BAD_REQUEST: InvalidError,
    HTTPStatus.NOT_FOUND: InvalidError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: InvalidError,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: InvalidError,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidError,
    HTTPStatus.GATEWAY_TIMEOUT: OutcomeUnknownError,  # a proxy passed it on, and then had no answer (RFC 9110 §15.6.5)
}
"""Other statuses of 500 and above are transient, all others permanent: redirects are never followed."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. `body` is the part that was read; `is_whole` says whether that was all."""

    status: int
    retry_after: str | None = None
    body: bytes = b""
    is_whole: bool = True

    @property
    def is_success(self) -> bool:
        """Whether the receiver took the task: any 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004 - the first digit of a status is its class

    @property
    def excerpt(self) -> str:
        """The beginning of the body, on one line."""
        text = self.body.decode("utf-8", "replace")
        return "".join(character if character.isprintable() else " " for character in text).strip()


def error_type_of(answer: Answer) -> type[PublishError]:
    """The error for an answer that is not a success; a 503 with Retry-After is a rate limit."""
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and answer.retry_after is not None:
        return RateLimitedError
    is_server_error = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return ERROR_OF_STATUS.get(answer.status, TransientError if is_server_error else PermanentError)


def read_retry_after(text: str | None, now_ms: int) -> float:
    """Seconds a Retry-After header asks for (RFC 9110 §10.2.3: seconds or a date), from 0 to an hour.

    A minute if the header is missing or unreadable.
    """
    try:
        seconds = float(min(int(text or ""), RETRY_AFTER_MAX_S))
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text or "").timestamp() - now_ms / 1000
        except (ValueError, OverflowError):
            return RETRY_AFTER_DEFAULT_S
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S)


def read_post(answer: Answer) -> tuple[str | None, str | None]:
    """The post's id and address, if the answer has them. Only http addresses count, because people click on them."""
    try:
        body = msgspec.json.decode(answer.body) if answer.is_whole else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    if not isinstance(body, dict):
        return None, None
    post_id = body.get("provider_post_id", body.get("id"))
    url = body.get("publish_url", body.get("url"))
    is_id = isinstance(post_id, str | int) and not isinstance(post_id, bool)
    is_address = isinstance(url, str) and url.startswith(("https://", "http://"))
    return str(post_id) if is_id else None, url if is_address else None
