"""Sends one callback: checks where it goes, signs it, and reads the answer."""

import asyncio
import base64
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
import msgspec
from standardwebhooks import Webhook

from everpost.clock import Clock
from everpost.publishing import (
    InvalidError,
    PermanentError,
    PublishError,
    PublishJob,
    PublishResult,
    RateLimitedError,
    TransientError,
)
from everpost_workers.publishers.outbound import SpreadTransport, resolve_host
from everpost_workers.publishers.webhook_answer import EXCERPT_CHARACTERS, Answer, read_retry_after

logging.getLogger("httpx").setLevel(logging.WARNING)  # at level INFO, it logs whole addresses, which may have a token

MAX_ANSWER_BYTES = 4_096
DEFAULT_PORTS = {"https": 443, "http": 80}
LIMITED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class CallbackSender:
    """Sends callbacks; it follows no redirect, and uses no proxy, netrc or cookies."""

    def __init__(
        self,
        secrets: Sequence[str],
        clock: Clock,
        *,
        timeout_s: float,
        allow_http: bool,
        allow_private: bool,
        connections: int,
    ) -> None:
        """`secrets` all sign; `connections` is about how many callbacks are sent at a time."""
        self._signers = [Webhook(_key_of(secret)) for secret in secrets]
        self._clock = clock
        self._timeout_s = timeout_s
        self._allow_http = allow_http
        self._allow_private = allow_private
        self._client = httpx.AsyncClient(
            transport=SpreadTransport(connections),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - `timeout_s` is one deadline for everything
        )
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, webhook_id: str, address: str, event: Mapping[str, Any], job: PublishJob) -> PublishResult:
        """Send an event.

        Raises:
            PublishError: It was not taken, or it is not known whether it was.
        """
        url = self._read_url(address)
        body = msgspec.json.encode(event)
        host, port = url.host, url.port or DEFAULT_PORTS[url.scheme]
        reason = "no address"
        try:
            async with asyncio.timeout(self._timeout_s):
                for target in await resolve_host(host, port, allow_private=self._allow_private):
                    request = self._request(url, target, webhook_id, body, job)
                    try:
                        return self._result(await self._exchange(request), host)
                    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                        reason = _reason(error)
        except TimeoutError as error:
            raise TransientError(f"{host} did not answer within {self._timeout_s:g} s.") from error
        except httpx.TransportError as error:
            raise TransientError(f"{host} gave no answer: {_reason(error)}.") from error
        raise TransientError(f"{host} was not reached: {reason}.")

    def _read_url(self, address: str) -> httpx.URL:
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL as error:
            raise InvalidError("The callback_url is not a valid URL.") from error
        if not url.host or url.userinfo or url.scheme not in {"https", *(["http"] if self._allow_http else [])}:
            raise InvalidError("The callback_url is not an https:// address without user and password.")
        return url.copy_with(fragment=None)

    def _request(self, url: httpx.URL, target: str, webhook_id: str, body: bytes, job: PublishJob) -> httpx.Request:
        """A request to this address of the host. Its Host header, and the name TLS checks, are those of the url."""
        sent_at = datetime.fromtimestamp(self._clock() // 1000, UTC)
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "Everpost",
            "Everpost-Attempt": str(job.attempt),
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": " ".join(signer.sign(webhook_id, sent_at, body.decode()) for signer in self._signers),
            **job.trace_context,
        }
        names = {"sni_hostname": url.raw_host.decode("ascii")}
        return httpx.Request("POST", url.copy_with(host=target), headers=headers, content=body, extensions=names)

    async def _exchange(self, request: httpx.Request) -> Answer:
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    break
        finally:
            await response.aclose()
        return Answer(
            status=response.status_code,
            retry_after=response.headers.get("Retry-After"),
            body=bytes(body[:MAX_ANSWER_BYTES]),
        )

    def _result(self, answer: Answer, host: str) -> PublishResult:
        if answer.is_success:
            return PublishResult(detail={"status": answer.status})
        raise self._refusal(answer, host)

    def _refusal(self, answer: Answer, host: str) -> PublishError:
        excerpt = answer.excerpt[:EXCERPT_CHARACTERS]
        message = f"{host} answered {answer.status}{': ' if excerpt else ''}{excerpt}"
        if answer.status == HTTPStatus.GONE:
            return PermanentError(message)
        if answer.status in LIMITED and answer.retry_after is not None:
            return RateLimitedError(message, retry_after_s=read_retry_after(answer.retry_after, self._clock()))
        return TransientError(message)


def _key_of(secret: str) -> bytes:
    text = secret.removeprefix("whsec_")
    return base64.b64decode(text + "=" * (-len(text) % 4))


def _reason(error: httpx.TransportError) -> str:
    return f"{type(error).__name__} {error}".rstrip(" .")
