"""The publisher `mastodon`. What it needs for sending is imported with the first post: most workers send none."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from everpost.clock import Clock, system_clock
from everpost.publishing import (
    Account,
    NotFound,
    Publisher,
    PublisherClass,
    PublishJob,
    PublishResult,
    Settings,
    read_options,
)
from everpost_workers.publishers.addresses import check_address
from everpost_workers.publishers.first_use import FirstUse
from everpost_workers.publishers.mastodon.options import MastodonOptions

if TYPE_CHECKING:
    from everpost_workers.publishers.mastodon.posting import Poster


class MastodonPublisher(Publisher):
    """Posts a status with media, with the account's access token.

    Mastodon remembers the Idempotency-Key for an hour. After that, and on servers that ignore it, the post is looked
    for among the account's own statuses.

    Raises:
        SettingsError: An option is unknown or wrong.
    """

    publisher_class = PublisherClass.KEYED
    can_look_up = True
    needs_account = True

    def __init__(self, options: Mapping[str, Any], settings: Settings, clock: Clock = system_clock) -> None:
        self._options = read_options(options, MastodonOptions)
        if self._options.url:
            check_address("url", self._options.url, allow_http=self._options.allow_http)
        if self._options.key_lifetime_s:
            self.key_lifetime_s = self._options.key_lifetime_s
        else:
            self.publisher_class = PublisherClass.CHECKABLE
        self._connections = settings.max_jobs
        self._clock = clock
        self._poster = FirstUse(self._make_poster)

    async def publish(self, job: PublishJob) -> PublishResult:
        """Post it; the result has the status's id and address.

        Raises:
            OutcomeUnknownError: The status was being sent, and no whole answer came.
            PublishError: Nothing was posted.
        """
        return await (await self._poster.get()).publish(job)

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Look for the post among the account's statuses."""
        return await (await self._poster.get()).look_up(job)

    async def check_account(self, account: Account) -> str:
        """Ask the server whose token it is.

        Raises:
            PublishError: It does not accept the token.
        """
        return await (await self._poster.get()).check_account(account)

    async def close(self) -> None:
        """Close all connections."""
        await self._poster.close()

    def _make_poster(self) -> "Poster":
        from everpost_workers.publishers.mastodon.posting import Poster  # noqa: PLC0415 - see the module's docstring

        return Poster(self._options, self._connections, self._clock)
