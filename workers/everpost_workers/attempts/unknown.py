"""Attempts of unknown outcome: finding out about them, and whether they may be repeated (I6)."""

import asyncio
from enum import Enum

from everpost.publishing import (
    NotFound,
    OutcomeUnknownError,
    Publisher,
    PublisherClass,
    PublishJob,
    PublishResult,
    TransientError,
)
from everpost.publishing.raised import error_class_of, message_of, text_of
from everpost.task.earlier_attempts import OpenAttempt
from everpost.task.model import ErrorClass
from everpost_workers.attempts.defects import tell_of_defect
from everpost_workers.cells.suspects import SuspectDiedError
from everpost_workers.engine import comes_from_outside

LOOK_UP_S = 10.0  # at most twice per attempt; the engine's own limit leaves room for it


class CannotRepeatError(OutcomeUnknownError):
    """An earlier attempt may have been accepted, so no attempt was made now."""


class StrayExitError(Exception):
    """The publisher raised something that is not an error, such as SystemExit or its own CancelledError."""


class NoAnswerError(OutcomeUnknownError):
    """The publisher did not answer in time. The message is Everpost's, not the publisher's."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"The publisher did not answer within {timeout_s:g} s.")


def keeps_intents(publisher: Publisher) -> bool:
    """Whether the ledger records an attempt before its first byte is sent.

    It does if the attempt must not run twice, or only while the platform knows its key. Then only the ledger can tell
    when the key was first used, because Redis may be lost.
    """
    declared = publisher.publisher_class
    return declared is not PublisherClass.LOCAL and (declared is not PublisherClass.KEYED or has_mortal_key(publisher))


def has_mortal_key(publisher: Publisher) -> bool:
    """Whether the platform takes a key but forgets it after some time."""
    return publisher.publisher_class is PublisherClass.KEYED and publisher.key_lifetime_s is not None


def as_failure(error: BaseException) -> BaseException:
    """A publisher's exception, replaced if other code would not treat it as a failure."""
    if isinstance(error, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)):
        stray = StrayExitError(repr(error))
        stray.__cause__ = error
        return stray
    return error


class Recourse(Enum):
    """What may be done about earlier attempts of unknown outcome."""

    SEND = "send"  # with the same key, which the platform remembers
    LOOK_UP = "look_up"
    LEAVE = "leave"  # a person decides


def recourse_of(publisher: Publisher, oldest_s: float | None) -> Recourse:
    """What the publisher's class allows.

    Args:
        oldest_s: Seconds since the oldest of the attempts began; None if no clock tells, so the platform may have
            forgotten the key.
    """
    match publisher.publisher_class:
        case PublisherClass.KEYED if _is_remembered(publisher.key_lifetime_s, oldest_s):
            return Recourse.SEND
        case PublisherClass.KEYED if publisher.can_look_up:
            return Recourse.LOOK_UP
        case PublisherClass.CHECKABLE:
            return Recourse.LOOK_UP
    return Recourse.LEAVE


async def find_earlier_post(
    publisher: Publisher, job: PublishJob, attempts: tuple[OpenAttempt, ...], recourse: Recourse
) -> PublishResult | None:
    """The post that an earlier attempt of unknown outcome made; None if the task may be sent now.

    Args:
        attempts: The attempts of unknown outcome.

    Raises:
        CannotRepeatError: It may not be sent.
    """
    numbers = ", ".join(str(attempt.number) for attempt in attempts)
    open_since = f"Attempt {numbers} began to send and never reported how it ended"
    if publisher.publisher_class is PublisherClass.KEYED:
        open_since += ", and the platform may have forgotten its key"
    if recourse is Recourse.SEND:
        return None
    if recourse is Recourse.LEAVE:
        raise CannotRepeatError(f"{open_since}.")
    found = await look_up(publisher, job)
    if isinstance(found, PublishResult):
        return found
    if found is NotFound.NOT_FOUND:
        return None
    raise CannotRepeatError(f"{open_since}, and {found}.")


def _is_remembered(lifetime_s: float | None, oldest_s: float | None) -> bool:
    return lifetime_s is None or (oldest_s is not None and oldest_s < lifetime_s)


async def find_post_despite(error: BaseException, publisher: Publisher, job: PublishJob) -> PublishResult:
    """The post that an attempt made although it ended with `error`.

    Raises:
        TransientError: The platform of a checkable publisher does not have it.
        BaseException: `error` itself, if its outcome is known or the platform cannot be asked.
    """
    publisher_class = publisher.publisher_class
    is_keyed = publisher_class is PublisherClass.KEYED
    is_asked = publisher_class is PublisherClass.CHECKABLE or (is_keyed and publisher.can_look_up)
    if not is_asked or error_class_of(error, publisher_class) is not ErrorClass.UNKNOWN:
        raise error
    found = await look_up(publisher, job)
    if isinstance(found, PublishResult):
        return found
    said = message_of(error)
    if is_keyed:  # it may still arrive; while the key is remembered, sending again is safe
        told = "a look-up did not find it" if found is NotFound.NOT_FOUND else found
        raise OutcomeUnknownError(f"{said} ({told})") from error
    if found is NotFound.NOT_FOUND:
        raise TransientError(f"{said} (a look-up did not find it)") from error
    raise OutcomeUnknownError(f"{said} ({found})") from error


async def look_up(publisher: Publisher, job: PublishJob) -> PublishResult | NotFound | str:
    """The publisher's answer; if it has none, the reason."""
    task = asyncio.current_task()
    try:
        async with asyncio.timeout(LOOK_UP_S):
            found = await publisher.look_up(job)
    except TimeoutError:
        return f"a look-up gave no answer within {LOOK_UP_S:g} s"
    except SuspectDiedError:
        raise  # its look-up is repeated later
    except BaseException as error:
        if comes_from_outside(error, task):
            raise
        tell_of_defect(error, job)
        return f"a look-up failed: {type(error).__name__}: {text_of(error)}"
    if isinstance(found, PublishResult):
        return PublishResult.storable(found, found_by="a look-up, after an attempt whose outcome was not known")
    return found if found is NotFound.NOT_FOUND else "a look-up gave no verdict"
