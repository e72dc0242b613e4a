"""An identity provider: its addresses and keys, and what it says of a person (OpenID Connect Core 1.0).

The flow is that of an authorization code with PKCE (RFC 7636), a state and a nonce. `joserfc` checks signatures.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from time import monotonic
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

import msgspec
import structlog

from everpost.access.claims import read_rules
from everpost.errors import SettingsError, SignInRefused, SignInUnavailable
from everpost.settings import Settings

log = structlog.get_logger("everpost.oidc")

Wanted = TypeVar("Wanted")

DISCOVERY = "/.well-known/openid-configuration"
SCOPE = "openid profile email"
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
KEPT_S = 3_600.0
ANSWER_S = 10.0
LEEWAY_S = 60  # between the clocks of two hosts


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says of itself (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """One attempt to sign in, which the browser keeps in a cookie until it comes back.

    Attributes:
        verifier: The secret of PKCE.
        next_page: The page to go to then.
    """

    state: str
    nonce: str
    verifier: str
    next_page: str = ""


class _Tokens(msgspec.Struct, frozen=True, kw_only=True):
    id_token: str
    access_token: str | None = None


class Provider:
    """The identity provider of the settings.

    Args:
        redirect_uri: The address to which it sends browsers back.
    """

    def __init__(self, issuer: str, client_id: str, client_secret: str | None, redirect_uri: str) -> None:
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._known: tuple[Metadata, Any] | None = None
        self._known_until_s = 0.0
        self._asking = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The provider of the settings.

        Raises:
            SettingsError: They lack something, or `joserfc` is not installed.
        """
        if not settings.oidc_issuer or not settings.oidc_client_id or not settings.public_url:
            raise SettingsError("EVERPOST_OIDC_ISSUER needs EVERPOST_OIDC_CLIENT_ID and EVERPOST_PUBLIC_URL too.")
        try:
            import joserfc  # noqa: F401, PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise SettingsError("EVERPOST_OIDC_ISSUER needs an extra: pip install 'everpost[oidc]'") from error
        try:
            read_rules(settings.oidc_roles or "")
        except ValueError as error:
            raise SettingsError(f"EVERPOST_OIDC_ROLES: {error}.") from error
        redirect_uri = f"{settings.public_url.rstrip('/')}/oidc-callback"
        return cls(settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret, redirect_uri)

    async def address_for(self, attempt: Attempt) -> str:
        """The address at which a person signs in.

        Raises:
            SignInUnavailable: The provider does not answer, or its answer is not that of an identity provider.
        """
        metadata, _ = await self._learn()
        challenge = urlsafe_b64encode(sha256(attempt.verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code", "client_id": self._client_id, "redirect_uri": self._redirect_uri,
            "scope": SCOPE, "state": attempt.state, "nonce": attempt.nonce, "code_challenge": challenge,
            "code_challenge_method": "S256",
        }  # fmt: skip
        joint = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{joint}{urlencode(query, quote_via=quote)}"

    async def claims_for(self, code: str, attempt: Attempt, issuer: str | None) -> Mapping[str, Any]:
        """What the provider says of the person who came back with a code.

        Args:
            issuer: What the browser brought back as the issuer (RFC 9207); None if it brought none.

        Raises:
            SignInRefused: The code or what it was exchanged for is not valid.
            SignInUnavailable: The provider does not answer.
        """
        metadata, keys = await self._learn()
        if issuer is not None and issuer != metadata.issuer:
            raise SignInRefused("another provider has answered")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect_uri}
        form |= {"code_verifier": attempt.verifier, "client_id": self._client_id}
        login = None if self._client_secret is None else (quote(self._client_id), quote(self._client_secret))
        tokens = await _ask(metadata.token_endpoint, _Tokens, form=form, login=login)
        try:
            claims = self._checked(tokens.id_token, keys, attempt.nonce)
        except SignInRefused:
            _, keys = await self._learn(anew=True)  # it may have new keys
            claims = self._checked(tokens.id_token, keys, attempt.nonce)
        if metadata.userinfo_endpoint is None or tokens.access_token is None:
            return claims
        told = await _ask(metadata.userinfo_endpoint, dict[str, Any], bearer=tokens.access_token)
        if told.get("sub") != claims["sub"]:
            raise SignInRefused("the provider told of another person than the token")
        return told | claims

    async def _learn(self, *, anew: bool = False) -> tuple[Metadata, Any]:
        async with self._asking:
            if self._known is None or anew or monotonic() > self._known_until_s:
                from joserfc.errors import JoseError  # noqa: PLC0415 - an extra
                from joserfc.jwk import KeySet  # noqa: PLC0415 - an extra

                metadata = await _ask(self._issuer.rstrip("/") + DISCOVERY, Metadata)
                if metadata.issuer != self._issuer:
                    raise SignInUnavailable(f"it calls itself {metadata.issuer[:200]!r}")
                found = await _ask(metadata.jwks_uri, dict[str, Any])
                try:
                    self._known = metadata, KeySet.import_key_set(found)  # type: ignore[arg-type]  # it checks them
                except (JoseError, ValueError, KeyError, TypeError) as error:
                    raise SignInUnavailable("its keys cannot be read") from error
                self._known_until_s = monotonic() + KEPT_S
            return self._known

    def _checked(self, id_token: str, keys: Any, nonce: str) -> dict[str, Any]:
        """The claims of a token, checked as section 3.1.3.7 of OpenID Connect Core says."""
        from joserfc import jwt  # noqa: PLC0415 - an extra
        from joserfc.errors import JoseError  # noqa: PLC0415 - an extra

        needed = {"iss": self._issuer, "nonce": nonce}
        rules: dict[str, Any] = {name: {"essential": True, "value": value} for name, value in needed.items()}
        rules |= {name: {"essential": True} for name in ("sub", "aud", "exp", "iat")}
        try:
            claims: dict[str, Any] = jwt.decode(id_token, keys, algorithms=ALGORITHMS).claims
            jwt.JWTClaimsRegistry(leeway=LEEWAY_S, **rules).validate(claims)
        except (JoseError, ValueError) as error:
            log.warning("oidc.token_refused", error=str(error))
            raise SignInRefused("its token is not valid") from error
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        party = claims.get("azp", self._client_id if len(audience) == 1 else None)
        if self._client_id not in audience or party != self._client_id:
            raise SignInRefused("its token is for another client")
        return claims


async def _ask(
    url: str,
    wanted: type[Wanted],
    *,
    form: Mapping[str, str] | None = None,
    login: tuple[str, str] | None = None,
    bearer: str | None = None,
) -> Wanted:
    """The provider's answer as JSON."""
    import httpx  # noqa: PLC0415 - it takes 8 MB, and most APIs have no provider

    headers = {"accept": "application/json"} | ({} if bearer is None else {"authorization": f"Bearer {bearer}"})
    try:
        async with httpx.AsyncClient(timeout=ANSWER_S, follow_redirects=False) as client:
            if form is None:
                answer = await client.get(url, headers=headers)
            else:
                auth = httpx.USE_CLIENT_DEFAULT if login is None else httpx.BasicAuth(*login)
                answer = await client.post(url, headers=headers, data=dict(form), auth=auth)
        if httpx.codes.is_client_error(answer.status_code) and form is not None:
            log.warning("oidc.code_refused", status=answer.status_code, error=answer.text[:200])
            raise SignInRefused("it does not accept the code")
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=wanted)
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
        log.warning("oidc.no_answer", url=url, error=str(error) or type(error).__name__)
        is_silent = isinstance(error, httpx.TransportError)
        why = "it does not answer" if is_silent else "its answer is not that of an identity provider"
        raise SignInUnavailable(why) from error
