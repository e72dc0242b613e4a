"""Reads a publisher's exception without trusting it: its own methods may raise too.

A defect in the exception must not lose the fact that the attempt may have reached the platform (I6). Nothing here
awaits, so what is caught comes from the exception itself: it is never a cancellation of the attempt.
"""

import math
from collections.abc import Iterator

from everpost.publishing.errors import PublishError
from everpost.publishing.trace import storable_text
from everpost.task.model import ErrorClass, PublisherClass

LONGEST_MESSAGE = 4_000  # characters kept with the task
EARLIER = (vars(BaseException)["__cause__"], vars(BaseException)["__context__"])  # a subclass may have its own
MOST_MEMBERS = 3  # members of an exception group that its message shows


def is_a(error: BaseException, kind: type[BaseException]) -> bool:
    """Like isinstance, but does not ask the exception's own `__class__`."""
    return issubclass(type(error), kind)


def message_of(error: BaseException) -> str:
    """The text the task keeps: a `PublishError`'s message; otherwise class and message; for a group, members too."""
    if is_a(error, PublishError):
        return _shortened(text_of(error))
    members = "; ".join(_described(member) for member, _ in zip(_members_of(error), range(MOST_MEMBERS), strict=False))
    return _shortened(f"{_described(error)}: {members}" if members else _described(error))


def text_of(error: BaseException) -> str:
    """The result of str(), as exactly a str that can be stored; if str() raises, a text that says so."""
    try:
        return storable_text(str.__getitem__(str(error), slice(LONGEST_MESSAGE + 1)))
    except BaseException as problem:  # noqa: BLE001 - a foreign method may raise anything
        return f"str() failed: {type(problem).__name__}"


def declared_class_of(error: BaseException) -> ErrorClass | None:
    """The error class a `PublishError` declares; None for other exceptions, or if it is not one of Everpost's."""
    if not is_a(error, PublishError):
        return None
    try:
        return ErrorClass(error.error_class)  # type: ignore[attr-defined]  # a PublishError has it
    except BaseException:  # noqa: BLE001 - a foreign attribute
        return None


def error_class_of(error: BaseException, publisher_class: PublisherClass) -> ErrorClass:
    """The error class of a publisher's exception: its own, or else the one that follows from the publisher's class.

    An `OutcomeUnknownError` is `unknown` for every class; `PublisherClass.may_rerun` says whether it is repeated.
    """
    if (declared := declared_class_of(error)) is not None:
        return declared
    return ErrorClass.TRANSIENT if publisher_class is PublisherClass.LOCAL else ErrorClass.UNKNOWN


def retry_after_of(error: BaseException) -> float | None:
    """The seconds it asks to wait; None if it names none, or a value that is not a finite number of 0 or more."""
    try:
        asked = getattr(error, "retry_after_s", None)
        seconds = float(asked) if asked is not None and not isinstance(asked, str | bytes | bool) else math.nan
    except BaseException:  # noqa: BLE001 - a foreign attribute
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def forget_frames(error: BaseException) -> None:
    """Drop its traceback, and those of its causes and members: their frames hold all that the publisher had loaded."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        some = left.pop()
        if some is None or id(some) in seen:
            continue
        seen.add(id(some))
        BaseException.with_traceback(some, None)
        left += (before.__get__(some) for before in EARLIER)
        if is_a(some, BaseExceptionGroup):
            left += BaseExceptionGroup.exceptions.__get__(some)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {text_of(error)}"


def _members_of(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, and in the groups it contains."""
    left = [error]
    while left:
        some = left.pop()
        if is_a(some, BaseExceptionGroup):
            left += reversed(BaseExceptionGroup.exceptions.__get__(some))
        elif some is not error:
            yield some


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"
