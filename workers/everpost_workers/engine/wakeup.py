"""Wakes the claim loop: an event with a timeout, and a listener for the message that sets it."""

import asyncio
import logging
from collections.abc import Callable

from arq.connections import ArqRedis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoPermissionError

from everpost_workers.engine.backoff import Backoff
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.trouble import REDIS_TROUBLE

logger = logging.getLogger("arq.worker")

PING_AFTER_S = 15


class WakeSignal:
    """An event for one waiter, cheaper than `asyncio.Event` under `wait_for`. A wait resets it."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake the waiter, or let its next wait return at once."""
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, timeout_s: float) -> None:
        """Return when the signal is set or `timeout_s` has passed."""
        if not self._is_set:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout_s, self.set)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        self._is_set = False


class WakeListener:
    """Calls back on every message of a channel, over a connection of its own. Subscribes again after an outage.

    Args:
        on_wake: Also called after each subscription, because earlier messages may have been missed.
    """

    def __init__(self, pool: ArqRedis, channel: str, on_wake: Callable[[], None]) -> None:
        self._pool = pool
        self._channel = channel
        self._on_wake = on_wake
        self._backoff = Backoff(0.05, 1.0)
        self._has_told = False

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            pubsub = self._pool.pubsub()
            try:
                await self._listen(pubsub)
            except NoPermissionError as error:
                self._tell_once(error)
            except REDIS_TROUBLE as error:
                fields = as_event("wake.lost", error=repr(error))
                logger.debug("wake channel lost, subscribing again: %r", error, extra=fields)
            except Exception:
                logger.exception("wake channel lost, subscribing again", extra=as_event("wake.lost"))
            finally:
                await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
            await asyncio.sleep(self._backoff.next_s())

    def _tell_once(self, error: NoPermissionError) -> None:
        """Log once that Redis refuses the channel: jobs are still found, but later."""
        if not self._has_told:
            told = "may not listen on %s, so jobs are only looked for every so often: %s"
            logger.warning(
                told, self._channel, error, extra=as_event("wake.refused", channel=self._channel, error=str(error))
            )
        self._has_told = True

    async def _listen(self, pubsub: PubSub) -> None:
        await pubsub.subscribe(self._channel)
        is_asked = False
        while True:
            message = await pubsub.get_message(timeout=PING_AFTER_S)
            if message is not None:
                is_asked = False
                if message["type"] in {"subscribe", "message"}:
                    self._backoff.reset()
                    self._on_wake()
            elif is_asked:
                raise ConnectionLost("no answer to a ping")
            else:
                is_asked = True
                await pubsub.ping()
