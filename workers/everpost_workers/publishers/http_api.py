"""An HTTP client for platforms with an API: where it may connect to, and what a broken request means.

It imports httpx, so publishers import it when they send their first post.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
import msgspec

from everpost.publishing import OutcomeUnknownError, PermanentError, PublishError, SendTrace, TransientError
from everpost_workers.publishers.api_answer import ApiAnswer
from everpost_workers.publishers.outbound import SpreadTransport, resolve_host

# At level INFO, httpx logs whole addresses.
logging.getLogger("httpx").setLevel(logging.WARNING)

MOST_ANSWER_BYTES = 4_194_304  # a page of statuses may be large
DEFAULT_PORTS = {"https": 443, "http": 80}

Body = Callable[[], AsyncIterator[bytes]]
"""Makes the body anew for every request, as a request may be repeated."""


class ApiRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        content: The body, or a function that makes its pieces; `headers` then has the Content-Length.
        timeout_s: For every single read and write; the whole request may take longer if it makes progress.
        deadline_s: For the whole request; None if it may be long.
        posts: The request may publish the post: if its answer is lost, the outcome is unknown.
        trace: Takes reports if the request posts.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    params: Mapping[str, str] = {}
    content: bytes | Body | None = None
    timeout_s: float = 30.0
    deadline_s: float | None = None
    posts: bool = False
    trace: SendTrace | None = None


class HttpApi:
    """Sends requests. It uses no proxy, netrc or cookies, follows no redirects, and reads at most 4 MB.

    Args:
        connections: About how many requests run at a time.
        allow_http: Permit addresses without TLS.
        allow_private: Permit addresses that are not global.
    """

    def __init__(self, *, connections: int, allow_http: bool, allow_private: bool) -> None:
        self._allow_http = allow_http
        self._allow_private = allow_private
        self._client = httpx.AsyncClient(
            transport=SpreadTransport(connections),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - each request has its own
        )
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def send(self, request: ApiRequest) -> ApiAnswer:
        """Send a request once, to the first address of its host that takes the connection.

        Raises:
            TransientError: It was not sent, or no whole answer came and it cannot have published anything.
            OutcomeUnknownError: It may have published the post, and no whole answer came.
            PermanentError: Its address is not permitted.
        """
        url = self._checked_url(request.url)
        progress = _Progress(request)
        reason = "no address"
        try:
            async with asyncio.timeout(request.deadline_s):
                port = url.port or DEFAULT_PORTS[url.scheme]
                for address in await resolve_host(url.host, port, allow_private=self._allow_private):
                    try:
                        return await self._exchange(_request_to(address, url, request, progress), progress)
                    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                        reason = _reason(error)
        except TimeoutError as error:
            raise progress.broken(url.host, f"no answer within {request.deadline_s:g} s") from error
        except httpx.TransportError as error:
            raise progress.broken(url.host, _reason(error)) from error
        raise TransientError(f"{url.host} was not reached: {reason}.")

    def _checked_url(self, text: str) -> httpx.URL:
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL as error:
            raise PermanentError("The account's address is not a valid URL.") from error
        if url.scheme not in DEFAULT_PORTS or not url.host or url.userinfo:
            raise PermanentError("The account's address must begin with https:// and have no user or password.")
        if url.scheme == "http" and not self._allow_http:
            raise PermanentError(f"{url.host} has an address without TLS; allow_http permits it.")
        return url

    async def _exchange(self, request: httpx.Request, progress: "_Progress") -> ApiAnswer:
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MOST_ANSWER_BYTES:
                    raise progress.broken(request.headers["Host"], f"an answer of more than {MOST_ANSWER_BYTES} bytes")
        finally:
            await response.aclose()
        return ApiAnswer(status=response.status_code, headers=response.headers, body=bytes(body))


class _Progress:
    """How far a request came; it reports that to the attempt's trace if the request posts."""

    def __init__(self, request: ApiRequest) -> None:
        self._posts = request.posts
        self._trace = request.trace if request.posts else None
        self._has_begun = False

    async def follow(self, event: str, details: Mapping[str, Any]) -> None:
        """Take an event of httpcore."""
        if event.endswith(".send_request_headers.started"):
            self._has_begun = True
            if self._trace is not None:
                self._trace.sending("The post is being sent.")
        elif self._trace is not None and event.endswith(".receive_response_headers.complete"):
            self._trace.answered(f"The answer began with the status {details['return_value'][1]}.")

    def broken(self, host: str, reason: str) -> PublishError:
        """The error for a request that has no whole answer."""
        if not self._has_begun:
            return TransientError(f"{host} was not reached: {reason}.")
        if self._posts:
            return OutcomeUnknownError(f"{host} may have taken the post: {reason}.")
        return TransientError(f"{host} gave no whole answer: {reason}.")


def _request_to(address: str, url: httpx.URL, request: ApiRequest, progress: _Progress) -> httpx.Request:
    """The request to this address. Its Host header, and the name TLS checks, are those of the URL."""
    content = request.content() if callable(request.content) else request.content
    headers = {
        "Host": url.netloc.decode("ascii"),
        "Accept": "application/json",
        "Accept-Encoding": "identity",  # so that the limit on an answer also limits its unpacked size
        "User-Agent": "Everpost",
        **request.headers,
    }
    if request.params:
        url = url.copy_merge_params(dict(request.params))
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), request.timeout_s)
    extensions = {"sni_hostname": url.raw_host.decode("ascii"), "timeout": timeouts, "trace": progress.follow}
    target = url.copy_with(host=address)
    return httpx.Request(request.method, target, headers=headers, content=content, extensions=extensions)


def _reason(error: httpx.TransportError) -> str:
    return f"{type(error).__name__} {error}".rstrip(" .")
