"""Exceptions whose own methods cannot be trusted."""

import math
import weakref
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from everpost.publishing import AuthError, PermanentError, PublisherClass, RateLimitedError
from everpost.publishing.raised import LONGEST_MESSAGE, error_class_of, forget_frames, message_of, retry_after_of
from everpost.task.model import ErrorClass


class Mute(Exception):
    def __init__(self, problem: BaseException) -> None:
        super().__init__()
        self.problem = problem

    def __str__(self) -> str:
        raise self.problem

    __repr__ = __str__


class MuteRefusal(AuthError):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Chimera(Exception):
    @property
    def __class__(self) -> Any:
        raise ValueError

    @__class__.setter
    def __class__(self, kind: Any) -> None:
        pass


class OddClass(PermanentError):
    error_class = "nonsense"  # type: ignore[assignment]  # as a publisher may have it


class RaisingClass(PermanentError):
    @property
    def error_class(self) -> ErrorClass:  # type: ignore[override]  # as above
        raise ValueError

    @property
    def retry_after_s(self) -> float:
        raise ValueError

    @retry_after_s.setter
    def retry_after_s(self, value: float) -> None:
        pass


class Text(str):
    __slots__ = ()

    def encode(self, *_: object, **__: object) -> bytes:
        raise ValueError

    def __getitem__(self, _: object) -> str:
        raise ValueError


class TextError(Exception):
    def __str__(self) -> str:
        return Text("words")


MESSAGES: dict[str, Callable[[], BaseException]] = {
    "KeyError: 'title'": lambda: KeyError("title"),
    "no": lambda: AuthError("no"),
    "Mute: str() failed: ValueError": lambda: Mute(ValueError()),
    "Mute: str() failed: SystemExit": lambda: Mute(SystemExit()),
    "str() failed: KeyboardInterrupt": lambda: MuteRefusal("no"),
    "TextError: words": TextError,
    "ValueError: a?": lambda: ValueError("a\udc80"),
    "ExceptionGroup: two (2 sub-exceptions): AuthError: no; Mute: str() failed: ValueError": lambda: ExceptionGroup(
        "two", [AuthError("no"), ExceptionGroup("one", [Mute(ValueError())])]
    ),
    "ExceptionGroup: all (9 sub-exceptions): ValueError: 0; ValueError: 1; ValueError: 2": lambda: ExceptionGroup(
        "all", [ValueError(number) for number in range(9)]
    ),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_every_exception_has_a_message(message: str) -> None:
    error = MESSAGES[message]()
    assert message_of(error) == message
    assert type(message_of(error)) is str


def test_a_long_message_is_cut() -> None:
    assert len(message_of(ValueError("x" * 10_000_000))) == LONGEST_MESSAGE


UNCLEAR: dict[str, Callable[[], BaseException]] = {
    "mute": lambda: Mute(ValueError()),
    "chimera": Chimera,
    "odd class": lambda: OddClass("x"),
    "raising class": lambda: RaisingClass("x"),
    "a group, another member of which may have sent": lambda: ExceptionGroup("one", [AuthError("no")]),
    "a group of what is no failure": lambda: BaseExceptionGroup("one", [GeneratorExit()]),
}


@pytest.mark.parametrize("unclear", UNCLEAR)
def test_an_exception_without_a_clear_meaning_is_unknown(unclear: str) -> None:
    error = UNCLEAR[unclear]()
    for publisher_class in (PublisherClass.NONE, PublisherClass.KEYED, PublisherClass.CHECKABLE):
        assert error_class_of(error, publisher_class) is ErrorClass.UNKNOWN


def test_a_refusal_without_words_is_a_refusal() -> None:
    assert error_class_of(MuteRefusal("no"), PublisherClass.NONE) is ErrorClass.AUTH


ODD_TIMES: list[Any] = [None, -1, math.nan, math.inf, "7", b"7", True, [], 10**400]


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(7, 7.0), (0, 0.0), (0.5, 0.5), (Decimal("1.5"), 1.5), *((odd, None) for odd in ODD_TIMES)],
)
def test_only_a_finite_number_of_seconds_counts(asked: Any, seconds: float | None) -> None:
    assert retry_after_of(RateLimitedError("slow down", retry_after_s=asked)) == seconds


def test_an_exception_that_cannot_be_asked_for_its_time_asks_for_none() -> None:
    assert retry_after_of(RaisingClass("x")) is None
    assert retry_after_of(ValueError("x")) is None


class Loaded:
    """What a publisher loads into memory."""


def test_what_a_publisher_had_loaded_is_freed_with_the_frames_of_its_errors() -> None:
    loaded: list[weakref.ref[Loaded]] = []

    def load(error: Exception) -> None:
        video = Loaded()
        loaded.append(weakref.ref(video))
        raise error

    def publish() -> None:
        try:
            load(ValueError())
        except ValueError:
            try:
                load(KeyError())
            except KeyError as error:
                part = error
        try:
            load(OSError())
        except OSError as error:
            raise PermanentError("no") from ExceptionGroup("both", [part, error])

    with pytest.raises(PermanentError) as raised:
        publish()
    error = raised.value
    del raised
    assert [video() is not None for video in loaded] == [True] * 3
    forget_frames(error)
    assert [video() for video in loaded] == [None] * 3
