"""The meaning of YouTube's refusals: pure functions of status, headers and body.

https://developers.google.com/youtube/v3/docs/errors and the tables of errors of videos.insert, thumbnails.set and
playlistItems.insert.
"""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from everpost.publishing import (
    AccountBlockedError,
    AuthError,
    InvalidError,
    PermanentError,
    PublishError,
    RateLimitedError,
    TransientError,
)
from everpost_workers.publishers.webhook_answer import RETRY_AFTER_DEFAULT_S, read_retry_after

LONGEST_MESSAGE = 300  # characters of Google's
QUOTA_ZONE = "America/Los_Angeles"  # "Daily quotas reset at midnight Pacific Time": the page on quota
UPLOAD_LIMIT_S = 86_400.0  # "try again in 24 hours": the revision history on uploadLimitExceeded

OF_QUOTA = frozenset({"quotaExceeded", "dailyLimitExceeded"})
OF_RATE = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "uploadRateLimitExceeded"})
BLOCKED = frozenset({"authenticatedUserAccountClosed"})


class Refusal(msgspec.Struct, frozen=True):
    """The parts of an error that are read."""

    status: int
    reason: str = ""
    message: str = ""
    retry_after: str | None = None


def read_refusal(status: int, body: bytes, retry_after: str | None) -> Refusal:
    """A refusal from an answer; whatever the body is."""
    try:
        document: Any = msgspec.json.decode(body)
        error = document["error"]
        reason = str(error["errors"][0]["reason"])
        message = str(error.get("message", ""))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError):
        reason, message = "", ""
    return Refusal(status, reason[:LONGEST_MESSAGE], message[:LONGEST_MESSAGE], retry_after)


def error_of(refusal: Refusal, doing: str, now_ms: int) -> PublishError:
    """The error of a refusal of `doing`. None of them means that a video was made."""
    said = f"YouTube refuses {doing}: {refusal.status} {refusal.reason}".rstrip()
    message = f"{said}: {refusal.message}" if refusal.message else f"{said}."
    if refusal.reason in OF_QUOTA:
        return RateLimitedError(message, retry_after_s=until_quota_resets(now_ms))
    if refusal.reason == "uploadLimitExceeded":
        return RateLimitedError(message, retry_after_s=UPLOAD_LIMIT_S)
    if refusal.reason in OF_RATE or refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(message, retry_after_s=_asked_s(refusal, now_ms))
    if refusal.reason in BLOCKED:
        return AccountBlockedError(message)
    if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        retry_after_s = None if refusal.retry_after is None else _asked_s(refusal, now_ms)
        return TransientError(message, retry_after_s=retry_after_s)
    return _KIND_OF_STATUS.get(refusal.status, PermanentError)(message)


_KIND_OF_STATUS: dict[int, type[PublishError]] = {
    HTTPStatus.BAD_REQUEST: InvalidError,
    HTTPStatus.UNAUTHORIZED: AuthError,
    HTTPStatus.FORBIDDEN: AuthError,  # also a missing right of the token, or an API that is not enabled
    HTTPStatus.NOT_FOUND: InvalidError,
    HTTPStatus.REQUEST_TIMEOUT: TransientError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: InvalidError,
}


def until_quota_resets(now_ms: int) -> float:
    """Seconds until the next midnight in the zone of Google's quotas."""
    now = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(QUOTA_ZONE))
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return max(1.0, (midnight.astimezone(UTC) - now.astimezone(UTC)).total_seconds())


def _asked_s(refusal: Refusal, now_ms: int) -> float:
    return RETRY_AFTER_DEFAULT_S if refusal.retry_after is None else read_retry_after(refusal.retry_after, now_ms)
