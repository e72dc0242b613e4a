"""The options of `bluesky` in the platform catalogue, and those of its accounts."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from everpost.publishing import Account, AuthError

MOST_IMAGES = 4
MOST_LANGUAGES = 3
MOST_TAGS = 8
MOST_GRAPHEMES = 300
MOST_TEXT_BYTES = 3_000
MOST_ALT_BYTES = 10_000
MOST_ALT_GRAPHEMES = 1_000


class BlueskyOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `bluesky`.

    Attributes:
        service: Where accounts without an option of that name sign in.
        pds: The server of the accounts, if it is not reached at the address that their DID documents name.
        video_service: Prepares videos before they are posted; if empty, they are uploaded to the PDS as they are.
        timeout_s: For each request: the longest silence, and for those that are not uploads the longest duration.
        video_wait_s: The longest wait for the video service in one attempt.
        most_image_bytes: The largest image that the network accepts.
        most_video_bytes: The largest video.
        allow_http: Permit addresses without TLS.
        allow_private: Permit addresses that are not global: loopback, private networks, link-local.
    """

    service: Annotated[str, Meta(min_length=1)] = "https://bsky.social"
    pds: str = ""
    video_service: str = "https://video.bsky.app"
    timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    video_wait_s: Annotated[float, Meta(gt=0)] = 240.0
    most_image_bytes: Annotated[int, Meta(gt=0)] = 2_000_000
    most_video_bytes: Annotated[int, Meta(gt=0)] = 300_000_000
    allow_http: bool = False
    allow_private: bool = False


def service_of(account: Account, options: BlueskyOptions) -> str:
    """Where the account signs in, without a slash at the end."""
    return _text(account.options, "service", options.service).rstrip("/")


def identifier_of(account: Account) -> str:
    """The handle or DID that the account signs in with: its option `identifier`, or its id."""
    return _text(account.options, "identifier", account.id).removeprefix("@")


def _text(options: Mapping[str, Any], name: str, default: str) -> str:
    value = options.get(name, default)
    if not isinstance(value, str) or not value:
        raise AuthError(f"The account's option {name} must be text.")
    return value
