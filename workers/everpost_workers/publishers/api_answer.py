"""A platform's answer, read without trusting it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from everpost.publishing import RateLimitedError
from everpost_workers.publishers.webhook_answer import RETRY_AFTER_DEFAULT_S, read_retry_after

EXCERPT_CHARACTERS = 300  # of an answer, in an error message
LONGEST_PAUSE_S = 86_400.0


class ApiAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. The names of `headers` are found in upper and lower case."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def is_success(self) -> bool:
        """Any 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004 - the first digit of a status is its class

    @property
    def is_server_error(self) -> bool:
        """The platform, or a proxy before it, failed; it may have carried out the request."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status == HTTPStatus.REQUEST_TIMEOUT

    @property
    def is_wait(self) -> bool:
        """The platform asks to come again later: 429, or 503 with a time."""
        is_away = self.status == HTTPStatus.SERVICE_UNAVAILABLE and "Retry-After" in self.headers
        return is_away or self.status == HTTPStatus.TOO_MANY_REQUESTS

    def value(self) -> Any:
        """The JSON value of the body; None if it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def object(self) -> dict[str, Any]:
        """The JSON object of the body; empty if it is not one."""
        value = self.value()
        return value if isinstance(value, dict) else {}

    def text_at(self, name: str) -> str | None:
        """The text of a member of the object; None if there is no such text."""
        value = self.object().get(name)
        return value if isinstance(value, str) and value else None

    @property
    def excerpt(self) -> str:
        """The beginning of the body, on one line."""
        text = self.body[: EXCERPT_CHARACTERS * 4].decode("utf-8", "replace")
        return "".join(character if character.isprintable() else " " for character in text).strip()[:EXCERPT_CHARACTERS]

    def rate_limit(self, host: str, reset_s: float | None, now_ms: int) -> RateLimitedError:
        """The error for an answer that asks to wait.

        Args:
            reset_s: Seconds until the platform's own header says that the limit ends; used without a Retry-After.
        """
        retry_after = self.headers.get("Retry-After")
        if retry_after is not None or reset_s is None:
            wait_s = read_retry_after(retry_after, now_ms)
        else:
            wait_s = min(max(reset_s, 1.0), LONGEST_PAUSE_S)
        told = f"{host} asks to come again later ({self.status})."
        return RateLimitedError(told, retry_after_s=wait_s or RETRY_AFTER_DEFAULT_S)


def clean_text(text: str) -> str:
    """The platform's words for an error message: one line, not too long."""
    return "".join(character if character.isprintable() else " " for character in text)[:EXCERPT_CHARACTERS].strip()
