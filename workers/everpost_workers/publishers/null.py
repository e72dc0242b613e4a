"""The publisher `null`: accepts everything and publishes nothing; for measuring Everpost itself."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from everpost.publishing import InvalidError, Publisher, PublisherClass, PublishJob, PublishResult, read_options
from everpost.settings import Settings

NOTHING = PublishResult()


class NullOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `null`.

    Attributes:
        count_file: A file to which each worker, when it stops, adds a line with its number of calls; None counts
            nothing.
        refuse: End every task as failed (`invalid`) instead of accepting it.
        takes_s: Seconds a call takes.
    """

    count_file: str | None = None
    refuse: bool = False
    takes_s: float = 0.0


class NullPublisher(Publisher):
    """Reports success without doing anything.

    Raises:
        SettingsError: An option is unknown or of the wrong type.
    """

    publisher_class = PublisherClass.LOCAL  # it has no effect, so a repetition is harmless

    def __init__(self, options: Mapping[str, Any], settings: Settings) -> None:
        self.options = read_options(options, NullOptions)
        self.settings = settings
        self._calls = 0

    async def publish(self, job: PublishJob) -> PublishResult:
        """Accept or refuse the job, as the options say."""
        self._calls += 1
        if self.options.takes_s:
            await asyncio.sleep(self.options.takes_s)
        if self.options.refuse:
            raise InvalidError(f"The publisher null refuses every task of {job.platform.name}.")
        return NOTHING

    async def close(self) -> None:
        """Write the number of calls."""
        if self.options.count_file is not None:
            with Path(self.options.count_file).open("a", encoding="ascii") as counts:  # noqa: ASYNC230 - the worker has ended
                counts.write(f"{self._calls}\n")
