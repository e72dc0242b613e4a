"""The publisher `webhook`: one signed POST per task, to an address that is checked before connecting."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx

from everpost.clock import Clock, system_clock
from everpost.errors import SettingsError
from everpost.files.links import FileLinks
from everpost.publishing import (
    InvalidError,
    OutcomeUnknownError,
    Publisher,
    PublisherClass,
    PublishError,
    PublishJob,
    PublishResult,
    RateLimitedError,
    SendTrace,
    TransientError,
    describe_media,
)
from everpost.settings import Settings
from everpost_workers.publishers.outbound import SpreadTransport, resolve_host
from everpost_workers.publishers.webhook_answer import (
    EXCERPT_CHARACTERS,
    Answer,
    error_type_of,
    read_post,
    read_retry_after,
)
from everpost_workers.publishers.webhook_body import Body, multipart_body, plain_body
from everpost_workers.publishers.webhook_options import Endpoint

# At level INFO, httpx logs whole addresses, which may contain a token.
logging.getLogger("httpx").setLevel(logging.WARNING)


EXPIRES = "links_expire_s"  # of a checkpoint: Unix time


class WebhookPublisher(Publisher):
    """POSTs each task as JSON, with the idempotency key as `Idempotency-Key` and `webhook-id`.

    The body of an automatic repetition is the same byte for byte, because a receiver may compare it with the first body
    of the key. The number of the attempt is in the header `Everpost-Attempt`.

    Raises:
        SettingsError: An option is unknown or wrong, or the variable of `secret_env` is not set.
    """

    publisher_class = PublisherClass.KEYED

    def __init__(self, options: Mapping[str, Any], settings: Settings, clock: Clock = system_clock) -> None:
        self._endpoint = Endpoint(options)
        self._options = self._endpoint.options
        self.key_lifetime_s = self._options.key_lifetime_s
        self._host = self._endpoint.url.host
        self._connections = settings.max_jobs
        self._clock = clock
        self._links = FileLinks(settings.secret_key, settings.public_url)
        if self._options.media == "url" and not self._links.can_sign:
            raise SettingsError('options.media: "url" needs EVERPOST_SECRET_KEY and EVERPOST_PUBLIC_URL.')
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Make the HTTP client; it uses no proxy, netrc or cookies."""
        self._client = httpx.AsyncClient(
            transport=SpreadTransport(self._connections),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - `timeout_s` is one deadline for everything
        )
        # Cookies are never sent, so none are kept.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    async def close(self) -> None:
        """Close the HTTP client and its connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def publish(self, job: PublishJob) -> PublishResult:
        """Send it once. Any 2xx is success. The answer may hold `provider_post_id` or `id`, `publish_url` or `url`.

        Raises:
            OutcomeUnknownError: The request was being sent, and no complete answer came.
            PublishError: The answer was not a success, see `ERROR_OF_STATUS`; or nothing could be sent.
        """
        answer = await self._send(await self._body(job), job)
        if not answer.is_success:
            raise self._refusal(answer)
        post_id, url = read_post(answer)
        detail = {"status": answer.status, "media": describe_media(job.data, job.media)}
        return PublishResult(provider_post_id=post_id, publish_url=url, detail=detail)

    async def _body(self, job: PublishJob) -> Body:
        if self._options.media == "multipart":
            return await multipart_body(job)
        return plain_body(job, await self._links_of(job) if self._options.media == "url" else None)

    async def _links_of(self, job: PublishJob) -> Mapping[str, str]:
        """Signed addresses of the files. A repetition has the same ones as long as they are valid.

        Raises:
            InvalidError: A file has no id.
        """
        if any(media.file_id is None for media in job.files):
            raise InvalidError("Only uploaded files have addresses: name the file by its file_id.")
        if not job.files:
            return {}
        now_s = self._clock() // 1000
        saved = job.saved.get(EXPIRES) if isinstance(job.saved, dict) else None
        if not isinstance(saved, int) or saved < now_s + self._options.timeout_s:
            saved = now_s + self._options.url_lifetime_s
            await job.checkpoint({EXPIRES: saved})
        return {str(media.file_id): self._links.link(str(media.file_id), saved) for media in job.files}

    async def _send(self, body: Body, job: PublishJob) -> Answer:
        """Try the host's addresses in turn until one accepts the connection, all within one deadline."""
        exchange: _Exchange | None = None
        reason = "no address"
        job.trace.nothing_sent()
        try:
            async with asyncio.timeout(self._options.timeout_s):
                port, allow_private = self._endpoint.port, self._options.allow_private
                for address in await resolve_host(self._host, port, allow_private=allow_private):
                    exchange = self._exchange(address, body, job)
                    try:
                        return await self._exchange_once(exchange)
                    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                        reason = _reason(error)
        except TimeoutError as error:
            raise self._broken(exchange, f"no answer within {self._options.timeout_s:g} s") from error
        except httpx.TransportError as error:
            raise self._broken(exchange, _reason(error)) from error
        raise self._broken(None, reason)

    def _exchange(self, address: str, body: Body, job: PublishJob) -> "_Exchange":
        """Send the request to this address. Its Host header, and the name TLS checks, are those of the url."""
        url = self._endpoint.url
        headers = httpx.Headers(self._endpoint.headers)
        headers.update(self._own_headers(body, job))
        names = {"sni_hostname": url.raw_host.decode("ascii")}
        target = url.copy_with(host=address)
        return _Exchange(
            httpx.Request("POST", target, headers=headers, content=body.make(), extensions=names), job.trace
        )

    def _own_headers(self, body: Body, job: PublishJob) -> dict[str, str]:
        sent_at = datetime.fromtimestamp(self._clock() // 1000, UTC)
        headers = {
            "Host": self._endpoint.url.netloc.decode("ascii"),
            "Content-Type": body.content_type,
            "Content-Length": str(body.size_bytes),
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # so that the limit on an answer also limits its unpacked size
            "User-Agent": "Everpost",
            "Idempotency-Key": job.idempotency_key,
            "Everpost-Attempt": str(job.attempt),
            "webhook-id": job.idempotency_key,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            **job.trace_context,
        }
        if self._endpoint.signer is not None:
            headers["webhook-signature"] = self._endpoint.signer.sign(
                job.idempotency_key, sent_at, body.document.decode()
            )
        return headers

    async def _exchange_once(self, exchange: "_Exchange") -> Answer:
        assert self._client is not None, "call open() first"
        response = await self._client.send(exchange.request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._options.max_answer_bytes:
                    break
        finally:
            await response.aclose()
        limit = self._options.max_answer_bytes
        return Answer(
            status=response.status_code,
            retry_after=response.headers.get("Retry-After"),
            body=bytes(body[:limit]),
            is_whole=len(body) <= limit,
        )

    def _broken(self, exchange: "_Exchange | None", reason: str) -> PublishError:
        if exchange is not None and exchange.has_begun:
            return OutcomeUnknownError(self._endpoint.hide(f"{self._host} may have accepted it: {reason}."))
        return TransientError(self._endpoint.hide(f"{self._host} was not reached: {reason}."))

    def _refusal(self, answer: Answer) -> PublishError:
        error_type = error_type_of(answer)
        excerpt = self._endpoint.hide(answer.excerpt)[:EXCERPT_CHARACTERS]
        message = f"{self._host} answered {answer.status}{': ' if excerpt else ''}{excerpt}"
        if error_type is not RateLimitedError:
            return error_type(message)
        return error_type(message, retry_after_s=read_retry_after(answer.retry_after, self._clock()))


class _Exchange:
    """A running request; it knows, and reports, whether its first byte may have been sent."""

    def __init__(self, request: httpx.Request, trace: SendTrace) -> None:
        self.request = request
        self.has_begun = False
        self._trace = trace
        request.extensions["trace"] = self._follow

    async def _follow(self, event: str, details: Mapping[str, Any]) -> None:
        if event.endswith(".send_request_headers.started"):
            self.has_begun = True
            self._trace.sending("The request is being sent.")
        elif event.endswith(".receive_response_headers.complete"):
            self._trace.answered(f"The answer began with the status {details['return_value'][1]}.")


def _reason(error: httpx.TransportError) -> str:
    return f"{type(error).__name__} {error}".rstrip(" .")
