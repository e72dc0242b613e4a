"""The options of `mastodon` in the platform catalogue, and those of its accounts."""

from typing import Annotated

import msgspec
from msgspec import Meta

from everpost.publishing import Account, InvalidError

VISIBILITIES = ("public", "unlisted", "private", "direct")
KEY_LIFETIME_S = 3_300.0  # an hour (docs.joinmastodon.org/methods/statuses/#create), less the duration of an attempt


class MastodonOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `mastodon`.

    Attributes:
        url: The server of accounts that have no option of that name, and whose id does not end with a server's name.
        key_lifetime_s: Seconds for which the servers remember an Idempotency-Key; 0 if they ignore it, so that posts
            are always looked up.
        timeout_s: For each request: the longest silence, and for those that are not uploads the longest duration.
        processing_wait_s: The longest wait for the processing of media in one attempt.
        allow_http: Permit addresses without TLS.
        allow_private: Permit addresses that are not global: loopback, private networks, link-local.
    """

    url: str = ""
    key_lifetime_s: Annotated[float, Meta(ge=0)] = KEY_LIFETIME_S
    timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    processing_wait_s: Annotated[float, Meta(gt=0)] = 240.0
    allow_http: bool = False
    allow_private: bool = False


def server_of(account: Account, options: MastodonOptions) -> str:
    """The address of the account's server, without a slash at the end.

    Its option `url`, else the platform's, else the server's name in an id like name@server.

    Raises:
        InvalidError: Nothing says where the account is.
    """
    given = account.options.get("url") or options.url
    if not given:
        _, at, host = account.id.strip().lstrip("@").rpartition("@")
        given = f"https://{host}" if at and host else ""
    if not isinstance(given, str) or not given:
        raise InvalidError("The account needs the option url: the address of its server.")
    return given.rstrip("/")
