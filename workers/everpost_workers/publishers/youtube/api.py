"""Calls of Google's servers: with a valid access token, refreshed under the account's lock."""

import logging
import ssl
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
import msgspec

from everpost.clock import Clock
from everpost.publishing import Account, AuthError, PublishError, RateLimitedError, TransientError
from everpost_workers.publishers.webhook_answer import read_retry_after
from everpost_workers.publishers.youtube.answers import error_of, read_refusal
from everpost_workers.publishers.youtube.options import YouTubeOptions

# At level INFO, httpx logs whole addresses: that of an upload session lets its reader upload.
logging.getLogger("httpx").setLevel(logging.WARNING)

ACCESS = "access_token"
EXPIRES = "access_token_expires_ms"
REFRESH = "refresh_token"
EARLY_MS = 60_000  # a token is renewed so long before it expires
DEFAULT_LIFE_S = 3_600
MOST_ANSWER_BYTES = 1 << 20


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes 20 ms."""
    return httpx.create_ssl_context()


class LostAnswerError(Exception):
    """A request was sent, and no whole answer came."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether it is any 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004 - the first digit of a status is its class

    def document(self) -> dict[str, Any]:
        """Its body as a JSON object; an empty one if it is something else."""
        try:
            found = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class Api:
    """Google's servers, for one platform."""

    def __init__(self, options: YouTubeOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        # The addresses are the operator's; redirects would carry the token elsewhere.
        self._client = httpx.AsyncClient(
            verify=_certificates(),
            follow_redirects=False,
            timeout=options.timeout_s,
            headers={"Accept-Encoding": "identity"},  # so that the limit on an answer also limits its unpacked size
        )
        # A cookie that one account got must not be sent with another's requests.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    def address(self, path: str) -> str:
        """The address of one of the API's resources."""
        return self._options.api_url.rstrip("/") + path

    async def call(
        self, account: Account, method: str, url: str, *, content: bytes = b"", headers: Mapping[str, str]
    ) -> Answer:
        """Call with the account's token. If Google refuses it, refresh it and call once more.

        Raises:
            TransientError: Nothing was sent.
            LostAnswerError: It may have been received.
            AuthError: There is no valid token.
        """
        token = await self._token(account, refused=None)
        answer = await self._send(method, url, content, {**headers, "Authorization": f"Bearer {token}"})
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return answer
        token = await self._token(account, refused=token)
        return await self._send(method, url, content, {**headers, "Authorization": f"Bearer {token}"})

    def error_of(self, answer: Answer, doing: str) -> PublishError:
        """The error of an answer that is not a success."""
        refusal = read_refusal(answer.status, answer.body, answer.headers.get("Retry-After"))
        return error_of(refusal, doing, self._clock())

    async def _send(self, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        body = bytearray()
        try:
            async with self._client.stream(method, url, content=content, headers=dict(headers)) as response:
                async for part in response.aiter_raw():
                    body += part
                    if len(body) > MOST_ANSWER_BYTES:
                        break
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise TransientError(f"Google was not reached: {type(error).__name__} {error}".rstrip()) from error
        except httpx.HTTPError as error:
            raise LostAnswerError(f"{type(error).__name__} {error}".rstrip()) from error
        return Answer(status=response.status_code, headers=response.headers, body=bytes(body))

    async def _token(self, account: Account, *, refused: str | None) -> str:
        """A token that is not the refused one, and does not expire soon."""
        token = self._usable(await account.credentials(), refused)
        if token is not None:
            return token
        async with account.refreshing() as tokens:  # one worker at a time: a refreshed token may be sent only once
            token = self._usable(tokens, refused)
            if token is not None:
                return token
            fresh = await self._refresh(tokens)
            await tokens.store(fresh)
            return fresh[ACCESS]

    def _usable(self, tokens: Mapping[str, str], refused: str | None) -> str | None:
        token = tokens.get(ACCESS)
        expires = tokens.get(EXPIRES, "")
        is_old = expires.isascii() and expires.isdigit() and int(expires) - EARLY_MS <= self._clock()
        return None if token == refused or is_old else token

    async def _refresh(self, tokens: Mapping[str, str]) -> dict[str, str]:
        """Exchange the refresh token: https://developers.google.com/identity/protocols/oauth2/web-server#offline."""
        names = ("client_id", "client_secret", REFRESH)
        missing = [name for name in names if not tokens.get(name)]
        if missing:
            raise AuthError(f"The account has no credential {', '.join(missing)}.")
        form = {name: tokens[name] for name in names} | {"grant_type": "refresh_token"}
        encoded = str(httpx.QueryParams(form)).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = await self._send("POST", self._options.token_url, encoded, kind)
        except LostAnswerError as error:
            raise TransientError(f"The access token was not refreshed: {error}.") from error
        if not answer.is_success:
            raise self._refresh_error(answer)
        document = answer.document()
        if not isinstance(document.get(ACCESS), str):
            raise TransientError("Google's answer to the refresh has no access token.")
        life_s = document.get("expires_in")
        life_ms = round(1000 * (life_s if isinstance(life_s, int | float) else DEFAULT_LIFE_S))
        fresh = {ACCESS: document[ACCESS], EXPIRES: str(self._clock() + life_ms)}
        if isinstance(document.get(REFRESH), str):
            fresh[REFRESH] = document[REFRESH]
        return fresh

    def _refresh_error(self, answer: Answer) -> PublishError:
        """OAuth's errors: RFC 6749 §5.2."""
        code = str(answer.document().get("error", ""))[:100]
        message = f"Google does not refresh the access token: {answer.status} {code}".rstrip()
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            retry_after = answer.headers.get("Retry-After")
            return RateLimitedError(message, retry_after_s=read_retry_after(retry_after, self._clock()))
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return TransientError(message)
        return AuthError(message)
