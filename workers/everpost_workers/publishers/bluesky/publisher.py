"""The publisher `bluesky`. What it needs for sending is imported with the first post: most workers send none."""

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
from everpost_workers.publishers.bluesky.options import BlueskyOptions
from everpost_workers.publishers.first_use import FirstUse

if TYPE_CHECKING:
    from everpost_workers.publishers.bluesky.posting import Poster


class BlueskyPublisher(Publisher):
    """Posts text with links, mentions and tags, images or a video, with the account's app password.

    The key of the record is made from the idempotency key, and the record is kept before it is sent. Sending it again
    changes nothing, so the class is KEYED without an end.

    Raises:
        SettingsError: An option is unknown or wrong.
    """

    publisher_class = PublisherClass.KEYED
    can_look_up = True
    needs_account = True

    def __init__(self, options: Mapping[str, Any], settings: Settings, clock: Clock = system_clock) -> None:
        self._options = read_options(options, BlueskyOptions)
        for name in ("service", "pds", "video_service"):
            if address := getattr(self._options, name):
                check_address(name, address, allow_http=self._options.allow_http)
        self._connections = settings.max_jobs
        self._clock = clock
        self._poster = FirstUse(self._make_poster)

    async def publish(self, job: PublishJob) -> PublishResult:
        """Post it; the result has the record's `at://` address and the post's page.

        Raises:
            OutcomeUnknownError: The record was being sent, and no whole answer came.
            PublishError: Nothing was posted.
        """
        return await (await self._poster.get()).publish(job)

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Ask the account's server for the record under the task's key."""
        return await (await self._poster.get()).look_up(job)

    async def check_account(self, account: Account) -> str:
        """Sign in anew, and say whose account it is.

        Raises:
            PublishError: The account cannot sign in.
        """
        return await (await self._poster.get()).check_account(account)

    async def close(self) -> None:
        """Close all connections."""
        await self._poster.close()

    def _make_poster(self) -> "Poster":
        from everpost_workers.publishers.bluesky.posting import Poster  # noqa: PLC0415 - see the module's docstring

        return Poster(self._options, self._connections, self._clock)
