"""The publisher of the platform `callback`: tells a client's own address how a task or batch ended.

A callback is a Standard Webhook (https://www.standardwebhooks.com): its `webhook-id` is the same however often it is
sent, and its body is the same byte for byte. So it may be sent again after any failure, and the receiver can tell.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from everpost.clock import Clock, system_clock
from everpost.publishing import (
    InvalidError,
    Publisher,
    PublisherClass,
    PublishJob,
    PublishResult,
    TransientError,
    read_options,
)
from everpost.settings import Settings
from everpost_workers.publishers.callback_turns import CallbackTurns

if TYPE_CHECKING:  # only a worker that has a callback to send loads the HTTP client
    from everpost_workers.publishers.callback_sender import CallbackSender


class CallbackOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `callback` in the platform catalogue.

    Attributes:
        timeout_s: One deadline in seconds for resolving, connecting, sending and reading the answer.
        allow_http: Permit addresses without TLS.
        allow_private: Permit addresses that are not global: loopback, private networks, link-local.
    """

    timeout_s: float = 15.0
    allow_http: bool = False
    allow_private: bool = False


class Callback(msgspec.Struct, frozen=True):
    """What is sent, as the task of a callback has it.

    Attributes:
        id: The `webhook-id`.
        event: The body.
    """

    id: str
    url: str
    event: dict[str, Any]


class CallbackPublisher(Publisher):
    """Sends callbacks.

    Raises:
        SettingsError: An option is unknown or wrong.
    """

    publisher_class = PublisherClass.KEYED

    def __init__(self, options: Mapping[str, Any], settings: Settings, clock: Clock = system_clock) -> None:
        self._options = read_options(options, CallbackOptions)
        self._secrets = settings.callback_secrets
        self._turns = CallbackTurns(settings.max_jobs)
        self._clock = clock
        self._sender: CallbackSender | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._sender is not None:
            await self._sender.close()
            self._sender = None

    async def publish(self, job: PublishJob) -> PublishResult:
        """Send it once. Any 2xx is success; 410 ends it; everything else is tried again.

        Raises:
            PublishError: It was not taken.
        """
        job.trace.nothing_sent()
        callback = _read(job.data)
        if not self._secrets:
            raise TransientError("EVERPOST_CALLBACK_SECRET is not set, so the callback cannot be signed.")
        async with self._turns.turn(_host_of(callback.url)):
            return await self._get_sender().send(callback.id, callback.url, callback.event, job)

    @property
    def room(self) -> int:
        """How many callbacks may begin now."""
        return self._turns.room

    def _get_sender(self) -> "CallbackSender":
        if self._sender is None:
            from everpost_workers.publishers.callback_sender import CallbackSender  # noqa: PLC0415 - see above

            self._sender = CallbackSender(
                self._secrets,
                self._clock,
                timeout_s=self._options.timeout_s,
                allow_http=self._options.allow_http,
                allow_private=self._options.allow_private,
                connections=self._turns.most,
            )
        return self._sender


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError as error:
        raise InvalidError("The callback_url is not a valid URL.") from error


def _read(data: Mapping[str, Any]) -> Callback:
    try:
        return msgspec.convert(data.get("callback"), Callback)
    except msgspec.ValidationError as error:
        raise InvalidError("This is not a callback.") from error
