"""The publisher `apprise`: messages to chat services, by the library of that name (extra `apprise`)."""

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from everpost.publishing import (
    AuthError,
    InvalidError,
    OutcomeUnknownError,
    PermanentError,
    Publisher,
    PublishJob,
    PublishResult,
    describe_media,
    read_options,
)
from everpost.settings import Settings

if TYPE_CHECKING:
    from apprise import Apprise, AppriseAttachment

CREDENTIAL = "url"


class AppriseOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `apprise`.

    Attributes:
        format: What the text is written in; Apprise converts it to what the service takes.
    """

    format: Literal["text", "markdown", "html"] = "text"


class ApprisePublisher(Publisher):
    """Sends a message. Apprise tells neither an id nor why a message failed, so its class is `NONE`.

    Raises:
        SettingsError: An option is unknown or wrong.
    """

    needs_account = True

    def __init__(self, options: Mapping[str, Any], settings: Settings) -> None:
        self._options = read_options(options, AppriseOptions)
        self.settings = settings

    async def publish(self, job: PublishJob) -> PublishResult:
        """Send the task's title, its text and its files to the account's service.

        Raises:
            OutcomeUnknownError: Apprise reports a failure: the message may have arrived nevertheless.
            PublishError: Nothing was sent.
        """
        job.trace.nothing_sent()
        title, text = _text(job.data, "title"), _text(job.data, "text") or _text(job.data, "description")
        if not (title or text or job.files):
            raise InvalidError("The task has neither a title nor a text nor a file.")
        url = (await job.account.credentials()).get(CREDENTIAL)
        if not url:
            raise AuthError(f"The account has no credential {CREDENTIAL!r}, the service's Apprise URL.")
        sender, attachments = await asyncio.to_thread(_prepare, url, job)
        job.trace.sending("Apprise sends the message.")
        sent = await sender.async_notify(
            body=text or title or " ", title=title if text else "", body_format=self._options.format, attach=attachments
        )
        if not sent:
            raise OutcomeUnknownError("Apprise reports a failure; it does not tell whether the message arrived.")
        return PublishResult(detail={"media": describe_media(job.data, job.media)})


def _prepare(url: str, job: PublishJob) -> "tuple[Apprise, AppriseAttachment | None]":
    """Import Apprise, and give it the service and the files.

    Raises:
        PublishError: It is not installed, does not know the service, or a file is missing.
    """
    try:
        from apprise import Apprise, AppriseAttachment  # noqa: PLC0415 - an extra, and large
    except ImportError as error:
        raise PermanentError("Apprise is not installed: install everpost[apprise].") from error
    logging.getLogger("apprise").setLevel(logging.WARNING)  # at level INFO, it logs addresses
    sender = Apprise()
    if not sender.add(url):
        raise AuthError("Apprise does not understand the account's URL.")
    if not job.files:
        return sender, None
    attachments = AppriseAttachment()
    for media in job.files:
        media.open_file().close()  # checks the path
        if not attachments.add(os.fspath(Path(media.path).absolute())):
            raise InvalidError(f"Apprise does not take the file {media.filename!a}.")
    return sender, attachments


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidError(f"{name} must be text.")
    return value.strip()
