"""The options of `youtube`."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from everpost.errors import SettingsError

Privacy = Literal["public", "unlisted", "private"]

KILOBYTE = 1_024
CHUNK_UNIT = 256 * KILOBYTE  # "Chunk size must be a multiple of 256 KB": the guide to resumable uploads
GOOGLE = ".googleapis.com"


class YouTubeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `youtube`.

    Attributes:
        privacy: Who can see a video whose task does not say.
        category: YouTube's category of a video whose task does not say.
        made_for_kids: What is declared of a video whose task does not say.
        notify_subscribers: Whether a video whose task does not say is announced.
        playlist: The id of the playlist of a video whose task does not say.
        chunk_kb: Kilobytes sent in one request, a multiple of 256. After a lost connection, at most so much is sent
            again.
        timeout_s: Seconds one request may take.
        api_url: The API's address.
        token_url: Where access tokens are refreshed.
    """

    privacy: Privacy = "public"
    category: str = "22"
    made_for_kids: bool = False
    notify_subscribers: bool = True
    playlist: str | None = None
    chunk_kb: Annotated[int, Meta(ge=256, le=262_144, multiple_of=256)] = 8_192
    timeout_s: Annotated[float, Meta(gt=0)] = 60.0
    api_url: str = "https://www.googleapis.com"
    token_url: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, not a secret

    def check(self) -> None:
        """Check the addresses.

        Raises:
            SettingsError: Credentials would be sent without TLS to another machine.
        """
        for name in ("api_url", "token_url"):
            url = urlsplit(getattr(self, name))
            if url.scheme != "https" and url.hostname not in {"127.0.0.1", "localhost"}:
                raise SettingsError(f"options.{name}: must be an https:// address.")

    def is_trusted(self, session: str) -> bool:
        """Whether an upload session's address may get the access token: the API's own, or one of Google's."""
        url, own = urlsplit(session), urlsplit(self.api_url)
        if (url.scheme, url.netloc) == (own.scheme, own.netloc):
            return True
        return url.scheme == "https" and (url.hostname or "").endswith(GOOGLE)
