"""The options of `webhook`, read and checked before the worker starts."""

import base64
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import httpx
import msgspec
from msgspec import Meta
from standardwebhooks import Webhook

from everpost.errors import SettingsError
from everpost.publishing import read_options
from everpost.secret_files import read_secret

SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix of Standard Webhooks
SECRET_CHARACTERS = 6  # a shorter secret is not hidden, because that would garble error messages

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110 §5.6.2
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?\Z")


class WebhookOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `webhook` in the platform catalogue.

    Attributes:
        url: The receiver's address; https, unless `allow_http`.
        secret: Signs each request as Standard Webhooks defines it: `whsec_` and base64.
        secret_env: The environment variable that holds the secret instead.
        secret_file: The file that holds the secret instead.
        timeout_s: One deadline in seconds for resolving, connecting, sending and reading the whole answer.
        key_lifetime_s: Seconds the receiver remembers a key. A post that may have been accepted is not sent again
            automatically after that.
        allow_http: Permit a url without TLS.
        allow_private: Permit addresses that are not global: loopback, private networks, link-local.
        headers: Sent with every request; Everpost's own headers take precedence.
        media: How the task's files reach the receiver: `describe` sends only what they are, `multipart` sends them with
            the task, `url` sends signed addresses to download them from.
        url_lifetime_s: Seconds for which such an address is valid.
        max_answer_bytes: How much of an answer is read; of a longer one, only the status and the beginning are used.
    """

    url: str
    secret: str | None = None
    secret_env: str | None = None
    secret_file: str | None = None
    timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    key_lifetime_s: Annotated[float, Meta(gt=0)] = 86_400.0
    allow_http: bool = False
    allow_private: bool = False
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    media: Literal["describe", "multipart", "url"] = "describe"
    url_lifetime_s: Annotated[int, Meta(ge=60, le=604_800)] = 3_600
    max_answer_bytes: Annotated[int, Meta(ge=0)] = 65_536


class Endpoint:
    """A checked webhook: its url, its headers, its signer, and the texts that errors must not show.

    Raises:
        SettingsError: An option is unknown or wrong, or the secret cannot be read.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.options = read_options(given, WebhookOptions)
        self.url = _read_url(self.options)
        self.port = self.url.port or (443 if self.url.scheme == "https" else 80)
        self.headers = _read_headers(self.options.headers)
        secret = _read_secret(self.options)
        self.signer = None if secret is None else _make_signer(secret)
        self._hidden = _hidden_texts(self.options, self.url, secret or "")

    def hide(self, text: str) -> str:
        """The text without secrets: a receiver may have sent one back."""
        for hidden in self._hidden:
            text = text.replace(hidden, "***")
        return text


def _read_url(options: WebhookOptions) -> httpx.URL:
    try:
        url = httpx.URL(options.url)
    except httpx.InvalidURL as error:
        raise SettingsError("options.url: is not a valid URL.") from error
    if url.scheme not in {"https", "http"} or not url.host:
        raise SettingsError("options.url: must be an https:// address.")
    if url.scheme == "http" and not options.allow_http:
        raise SettingsError("options.url: must be https://, unless allow_http is true.")
    if url.userinfo:
        raise SettingsError("options.url: must not contain a user or password; add an Authorization to headers.")
    return url.copy_with(fragment=None)


def _read_headers(given: Mapping[str, str]) -> httpx.Headers:
    for name, value in given.items():
        if not _HEADER_NAME.match(name) or not _HEADER_VALUE.match(value):
            raise SettingsError(f"options.headers.{name!a}: is not a header of printable ASCII.")
    return httpx.Headers(dict(given))


def _read_secret(options: WebhookOptions) -> str | None:
    given = (options.secret, options.secret_env, options.secret_file)
    if len(given) - given.count(None) > 1:
        raise SettingsError("options.secret: set one of secret, secret_env and secret_file, not several.")
    if options.secret_file is not None:
        return read_secret("options.secret_file", options.secret_file)
    if options.secret_env is None:
        return options.secret
    secret = os.environ.get(options.secret_env)
    if not secret:
        raise SettingsError(f"options.secret_env: the environment has no {options.secret_env}.")
    return secret


def _make_signer(secret: str) -> Webhook:
    """Check strictly: the package decodes leniently, so a mistyped secret would become another, shorter one."""
    text = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if not key or text == secret:
        raise SettingsError(f"options.secret: must be {SECRET_PREFIX} and base64.")
    return Webhook(key)


def _hidden_texts(options: WebhookOptions, url: httpx.URL, secret: str) -> tuple[str, ...]:
    """The secrets, and all parts of the url and headers that may be one; longest first, as one may contain another."""
    texts = {secret, secret.removeprefix(SECRET_PREFIX), options.url, url.raw_path.decode("ascii"), url.path}
    texts.update(url.params.values())
    for value in options.headers.values():
        texts.update((value, *value.split()))
    return tuple(sorted((text for text in texts if len(text) >= SECRET_CHARACTERS), key=len, reverse=True))
