"""One account on one server: the requests that a status needs."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from everpost.clock import Clock
from everpost.publishing import (
    AuthError,
    InvalidError,
    Media,
    OutcomeUnknownError,
    PublishError,
    PublishJob,
    TransientError,
)
from everpost_workers.publishers.api_answer import ApiAnswer
from everpost_workers.publishers.http_api import ApiRequest, HttpApi
from everpost_workers.publishers.mastodon.errors import error_of
from everpost_workers.publishers.mastodon.limits import Limits, read_limits
from everpost_workers.publishers.mastodon.options import MastodonOptions
from everpost_workers.publishers.uploads import Report, multipart

PAUSES_S = (0.5, 5.0)  # between two questions, the first and the longest
PAGE = 40


class Server:
    """What an account's server is asked.

    Args:
        address: Without a slash at the end.

    Attributes:
        ahead_ms: By how much the server's clock is ahead of this host's, at least.
    """

    def __init__(self, api: HttpApi, address: str, token: str, options: MastodonOptions, clock: Clock) -> None:
        self._api = api
        self._address = address
        self._token = token
        self._options = options
        self._clock = clock
        self.host = urlsplit(address).netloc
        self.ahead_ms = 0

    async def read_limits(self) -> Limits:
        """What the server takes; Mastodon's own limits if it does not say.

        Raises:
            PublishError: It cannot be asked now.
        """
        for path in ("/api/v2/instance", "/api/v1/instance"):
            answer = await self._get(path)
            if answer.is_success:
                return read_limits(answer.object())
            if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS} or answer.is_server_error:
                raise self._error(answer)
        return Limits()

    async def read_account(self) -> dict[str, Any]:
        """The account of the token.

        Raises:
            PublishError: The server does not accept the token.
        """
        answer = await self._get("/api/v1/accounts/verify_credentials")
        if not answer.is_success:
            error = self._error(answer)
            # The request has nothing but the token that could be wrong; snac answers 422.
            raise AuthError(str(error)) if isinstance(error, InvalidError) else error
        return answer.object()

    async def upload(self, media: Media, alt: str, report: Report) -> tuple[str, bool]:
        """Upload a file, and return its id and whether it is processed.

        Raises:
            PublishError: It was not uploaded.
        """
        answer = await self._upload("/api/v2/media", media, alt, report)
        if answer.status == HTTPStatus.NOT_FOUND:  # before Mastodon 3.1.3
            answer = await self._upload("/api/v1/media", media, alt, report)
        if not answer.is_success:
            raise self._error(answer)
        media_id = answer.object().get("id")
        if not isinstance(media_id, str | int) or isinstance(media_id, bool):
            raise TransientError(f"{self.host} took the file and gave it no id.")
        return str(media_id), answer.status != HTTPStatus.ACCEPTED

    async def wait_until_processed(self, media_id: str) -> bool:
        """Wait until a file can be attached; False if the server does not have it.

        Raises:
            InvalidError: It cannot be processed.
            PublishError: It is not processed yet; another attempt goes on waiting.
        """
        deadline_s, pause_s = time.monotonic() + self._options.processing_wait_s, PAUSES_S[0]
        while True:
            answer = await self._get(f"/api/v1/media/{quote(media_id, safe='')}")
            if answer.status == HTTPStatus.NOT_FOUND:
                return False
            if not answer.is_success:
                raise self._error(answer)
            if answer.status != HTTPStatus.PARTIAL_CONTENT:
                return True
            if time.monotonic() > deadline_s:
                raise TransientError(f"{self.host} has not processed the file yet.")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, PAUSES_S[1])

    async def post_status(self, form: Sequence[tuple[str, str]], job: PublishJob) -> dict[str, Any]:
        """Post a status with the task's key.

        Raises:
            OutcomeUnknownError: It may have been posted.
            PublishError: It was not posted.
        """
        request = ApiRequest(
            method="POST",
            url=f"{self._address}/api/v1/statuses",
            headers={
                **self._headers,
                "Content-Type": "application/x-www-form-urlencoded",
                "Idempotency-Key": job.idempotency_key,
            },
            content=urlencode(form).encode(),
            timeout_s=self._options.timeout_s,
            deadline_s=self._options.timeout_s,
            posts=True,
            trace=job.trace,
        )
        answer = await self._send(request)
        if not answer.is_success:
            raise self._error(answer, posts=True)
        status = answer.object()
        if not status.get("id"):  # cut off, or the answer of something before the server
            raise OutcomeUnknownError(f"{self.host} answered {answer.status} without the status.")
        return status

    async def read_statuses(self, account_id: str, before: str | None) -> list[dict[str, Any]]:
        """A page of the account's own statuses, the newest first.

        Args:
            before: The id of the last status of the page before.

        Raises:
            PublishError: The server does not say.
        """
        params = {"limit": str(PAGE), "exclude_reblogs": "true", **({"max_id": before} if before else {})}
        answer = await self._get(f"/api/v1/accounts/{quote(account_id, safe='')}/statuses", params)
        if not answer.is_success:
            raise self._error(answer)
        value = answer.value()
        if not isinstance(value, list):
            raise TransientError(f"{self.host} answered {answer.status} without the account's statuses.")
        return [status for status in value if isinstance(status, dict)]

    async def read_source(self, status_id: str) -> tuple[str, str] | None:
        """A status's text and spoiler as they were sent; None if the server does not tell (Mastodon does since 3.5)."""
        answer = await self._get(f"/api/v1/statuses/{quote(status_id, safe='')}/source")
        found = answer.object()
        if not answer.is_success or not isinstance(found.get("text"), str):
            return None
        return found["text"], str(found.get("spoiler_text") or "")

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    async def _upload(self, path: str, media: Media, alt: str, report: Report) -> ApiAnswer:
        upload = multipart(media, {"description": alt} if alt else {}, report)
        return await self._send(
            ApiRequest(
                method="POST",
                url=f"{self._address}{path}",
                headers={**self._headers, **upload.headers},
                content=upload.make,
                timeout_s=self._options.timeout_s,
            )
        )

    async def _get(self, path: str, params: Mapping[str, str] | None = None) -> ApiAnswer:
        return await self._send(
            ApiRequest(
                method="GET",
                url=f"{self._address}{path}",
                headers=self._headers,
                params=params or {},
                timeout_s=self._options.timeout_s,
                deadline_s=self._options.timeout_s,
            )
        )

    async def _send(self, request: ApiRequest) -> ApiAnswer:
        answer = await self._api.send(request)
        try:
            shown = parsedate_to_datetime(answer.headers["Date"])
        except (KeyError, ValueError):
            return answer
        self.ahead_ms = round(shown.timestamp() * 1000) - self._clock()
        return answer

    def _error(self, answer: ApiAnswer, *, posts: bool = False) -> PublishError:
        return error_of(answer, self.host, self._clock(), posts=posts)


class Known(msgspec.Struct):
    """What is remembered of an account's server.

    Attributes:
        privacy: The visibility of statuses that name none.
        read_at_s: When the limits were read, by the monotonic clock.
    """

    server: Server
    account_id: str
    acct: str
    privacy: str
    limits: Limits
    read_at_s: float
