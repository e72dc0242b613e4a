"""What an exception of a publisher says, read without trusting it: its own methods may raise, too.

Whatever is wrong with it, the attempt may have reached the platform, and that must not be lost over its words (I6).
"""

import math
from collections.abc import Iterator

from everpost.publishing.errors import PublishError
from everpost.publishing.trace import storable_text
from everpost.task.model import ErrorClass, PublisherClass

LONGEST_MESSAGE = 4_000  # characters kept with the task
MOST_MEMBERS = 3  # of a group of exceptions, in its message


def is_a(error: BaseException, kind: type[BaseException]) -> bool:
    """As isinstance, which asks a `__class__` of the exception's own."""
    return issubclass(type(error), kind)


def message_of(error: BaseException) -> str:
    """What the task keeps of it: a `PublishError`'s words; of others the class, and of a group its first members."""
    if is_a(error, PublishError):
        return _shortened(text_of(error))
    members = "; ".join(_described(member) for member, _ in zip(_members_of(error), range(MOST_MEMBERS), strict=False))
    return _shortened(f"{_described(error)}: {members}" if members else _described(error))


def text_of(error: BaseException) -> str:
    """What str() makes of it, storable and exactly a str; if that fails, that it did."""
    try:
        return storable_text(str.__getitem__(str(error), slice(LONGEST_MESSAGE + 1)))
    except BaseException as problem:  # noqa: BLE001 - a stranger's method, whatever it raises
        return f"str() failed: {type(problem).__name__}"


def declared_class_of(error: BaseException) -> ErrorClass | None:
    """The class a `PublishError` declares; None of others, and where it is none of ours."""
    if not is_a(error, PublishError):
        return None
    try:
        return ErrorClass(error.error_class)  # type: ignore[attr-defined]  # a PublishError has it
    except BaseException:  # noqa: BLE001 - a stranger's attribute
        return None


def error_class_of(error: BaseException, publisher_class: PublisherClass) -> ErrorClass:
    """What an exception of a publisher means: its own class, or else the worst its publisher's class leaves open.

    An `OutcomeUnknownError` is `unknown` for every class; whether it is rerun then, `PublisherClass.may_rerun` says.
    """
    if (declared := declared_class_of(error)) is not None:
        return declared
    return ErrorClass.TRANSIENT if publisher_class is PublisherClass.LOCAL else ErrorClass.UNKNOWN


def retry_after_of(error: BaseException) -> float | None:
    """The seconds it asks to wait; None if it asks for nothing, or for what is no finite number of 0 or more."""
    try:
        asked = getattr(error, "retry_after_s", None)
        seconds = float(asked) if asked is not None and not isinstance(asked, str | bytes | bool) else math.nan
    except BaseException:  # noqa: BLE001 - a stranger's attribute
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {text_of(error)}"


def _members_of(error: BaseException) -> Iterator[BaseException]:
    """What is in a group of exceptions, and in the groups in it."""
    left = [error]
    while left:
        some = left.pop()
        if is_a(some, BaseExceptionGroup):
            left += reversed(BaseExceptionGroup.exceptions.__get__(some))
        elif some is not error:
            yield some


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"
