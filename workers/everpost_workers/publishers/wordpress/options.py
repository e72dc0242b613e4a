"""The options of `wordpress`."""

from typing import Annotated

import msgspec
from msgspec import Meta


class WordPressOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `wordpress`.

    Attributes:
        url: The site's address, for accounts that have no option `url`.
        timeout_s: Seconds one request may take, or one piece of an upload.
        allow_http: Permit sites without TLS.
        allow_private: Permit addresses that are not global.
    """

    url: str | None = None
    timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    allow_http: bool = False
    allow_private: bool = False
