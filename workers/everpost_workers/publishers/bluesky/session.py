"""Sessions of accounts: signing in, and renewing the tokens so that workers do not invalidate each other's."""

import asyncio
import base64
import binascii
from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from everpost.clock import Clock
from everpost.publishing import Account, AuthError
from everpost_workers.publishers.api_answer import ApiAnswer
from everpost_workers.publishers.bluesky.options import BlueskyOptions, identifier_of, service_of
from everpost_workers.publishers.bluesky.xrpc import SIGN_IN_AGAIN, error_name, error_of
from everpost_workers.publishers.http_api import ApiRequest, HttpApi

SPARE_S = 120  # a token that expires sooner is renewed before it is used
PDS_SERVICE = "#atproto_pds"


class Session(msgspec.Struct, frozen=True):
    """An account's session.

    Attributes:
        pds: The address of the account's server, without a slash at the end.
    """

    did: str
    handle: str
    access: str
    refresh: str
    pds: str

    def __repr__(self) -> str:
        return f"<session of {self.did}>"

    @property
    def host(self) -> str:
        """The server's name, for messages and for `did:web`."""
        return urlsplit(self.pds).netloc

    @property
    def headers(self) -> dict[str, str]:
        """The header of requests with this session."""
        return _bearer(self.access)

    def kept(self) -> dict[str, str]:
        """What the account's tokens keep of it: only secrets, as Everpost hides what stands there in all texts."""
        return {"access_jwt": self.access, "refresh_jwt": self.refresh}


class Sessions:
    """The sessions that this process uses. The account's tokens have them for all workers."""

    def __init__(self, api: HttpApi, options: BlueskyOptions, clock: Clock) -> None:
        self._api = api
        self._options = options
        self._clock = clock
        self._by_account: dict[str, Session] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def session_of(self, account: Account) -> Session:
        """A session whose access token can be used.

        Raises:
            PublishError: The account cannot sign in.
        """
        session = self._by_account.get(account.id)
        if session is None or self._ends_soon(session.access):
            session = await self.renewed(account, session)
        return session

    async def renewed(self, account: Account, stale: Session | None) -> Session:
        """Another session than `stale`: the one that another worker has stored, a refreshed or a new one.

        Raises:
            PublishError: The account cannot sign in.
        """
        async with self._turns[account.id]:  # one attempt of this process asks for the lock of the fleet
            present = self._by_account.get(account.id)
            if present is None or present is stale or self._ends_soon(present.access):
                present = self._by_account[account.id] = await self._renew(account, stale)
            return present

    async def sign_in(self, account: Account) -> Session:
        """Sign in anew, to see whether the credentials are accepted.

        Raises:
            PublishError: They are not.
        """
        async with account.refreshing() as tokens:
            session = await self._signed_in(account, tokens)
            await tokens.store(session.kept())
        self._by_account[account.id] = session
        return session

    async def _renew(self, account: Account, stale: Session | None) -> Session:
        service = service_of(account, self._options)
        async with account.refreshing() as tokens:
            access, refresh = tokens.get("access_jwt"), tokens.get("refresh_jwt")
            if access and refresh:
                is_new = stale is None or access != stale.access
                if is_new and not self._ends_soon(access) and (found := await self._kept(service, access, refresh)):
                    return found
                session = await self._refreshed(service, refresh)
            else:
                session = None
            session = session or await self._signed_in(account, tokens)
            await tokens.store(session.kept())
            return session

    async def _kept(self, service: str, access: str, refresh: str) -> Session | None:
        """The session of stored tokens; None if the server no longer accepts them."""
        answer = await self._send("GET", service, "com.atproto.server.getSession", _bearer(access))
        if answer.is_success:
            return self._session_from(answer, service, access, refresh)
        if error_name(answer) in SIGN_IN_AGAIN:
            return None
        raise error_of(answer, urlsplit(service).netloc, self._clock())

    async def _refreshed(self, service: str, refresh: str) -> Session | None:
        """The session with new tokens; None if they cannot be refreshed, so that the account must sign in again."""
        answer = await self._send("POST", service, "com.atproto.server.refreshSession", _bearer(refresh))
        if answer.is_success:
            return self._session_from(answer, service)
        if error_name(answer) in SIGN_IN_AGAIN:
            return None
        raise error_of(answer, urlsplit(service).netloc, self._clock())

    async def _signed_in(self, account: Account, tokens: Mapping[str, str]) -> Session:
        password = tokens.get("password")
        if not password:
            raise AuthError("The account has no credential named password: an app password of Bluesky.")
        service = service_of(account, self._options)
        body = msgspec.json.encode({"identifier": identifier_of(account), "password": password})
        headers = {"Content-Type": "application/json"}
        answer = await self._send("POST", service, "com.atproto.server.createSession", headers, body)
        if not answer.is_success:
            raise error_of(answer, urlsplit(service).netloc, self._clock())
        return self._session_from(answer, service)

    async def _send(
        self, verb: str, server: str, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> ApiAnswer:
        return await self._api.send(
            ApiRequest(
                method=verb,
                url=f"{server}/xrpc/{method}",
                headers=headers,
                content=body,
                timeout_s=self._options.timeout_s,
                deadline_s=self._options.timeout_s,
            )
        )

    def _session_from(
        self, answer: ApiAnswer, server: str, access: str | None = None, refresh: str | None = None
    ) -> Session:
        did, handle = answer.text_at("did"), answer.text_at("handle")
        access, refresh = access or answer.text_at("accessJwt"), refresh or answer.text_at("refreshJwt")
        if did is None or access is None or refresh is None:
            raise AuthError(f"{urlsplit(server).netloc} answered without a session.")
        pds = self._options.pds.rstrip("/") or _pds_in(answer.object().get("didDoc")) or server
        return Session(did, handle or did, access, refresh, pds)

    def _ends_soon(self, token: str) -> bool:
        expires_s = _expiry_s(token)
        return expires_s is not None and expires_s - self._clock() / 1000 < SPARE_S


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _pds_in(document: Any) -> str | None:
    """The address of the account's own server, in its DID document: bsky.social signs in for many servers."""
    services = document.get("service") if isinstance(document, dict) else None
    for service in services if isinstance(services, list) else []:
        if isinstance(service, dict) and str(service.get("id", "")).endswith(PDS_SERVICE):
            address = service.get("serviceEndpoint")
            return address.rstrip("/") if isinstance(address, str) and address else None
    return None


def _expiry_s(token: str) -> float | None:
    """When a token ends, in seconds since 1970; None if it does not say (RFC 7519)."""
    try:
        claims = token.split(".")[1]
        value = msgspec.json.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return float(value["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error, msgspec.DecodeError):
        return None
