"""What a publisher's exceptions mean, its key, its options, and how it is found."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.errors import SettingsError
from everpost.platforms import Catalogue, Platform
from everpost.publishing import (
    AuthError,
    InvalidError,
    OutcomeUnknownError,
    PermanentError,
    Publisher,
    PublisherClass,
    PublishError,
    PublishJob,
    PublishResult,
    RateLimitedError,
    TransientError,
    idempotency_key,
    read_options,
)
from everpost.publishing.raised import error_class_of
from everpost.settings import Settings
from everpost.task.model import ErrorClass
from everpost_workers.publishers.folder import FolderPublisher
from everpost_workers.publishers.registry import load_publishers, opened_publishers
from everpost_workers.publishers.webhook_answer import Answer, error_type_of, read_post, read_retry_after

NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


class RecordingPublisher(Publisher):
    def __init__(self, options: Mapping[str, Any], settings: Settings) -> None:
        super().__init__(options, settings)
        self.calls: list[str] = []

    async def open(self) -> None:
        self.calls.append("open")

    async def publish(self, job: PublishJob) -> PublishResult:
        return PublishResult(provider_post_id=job.task_id)

    async def close(self) -> None:
        self.calls.append("close")


def catalogue_of(*publishers: str, options: dict[str, Any] | None = None) -> Catalogue:
    return Catalogue(
        Platform(id=number, name=f"p{number}", publisher=name, options=options or {})
        for number, name in enumerate(publishers, 1)
    )


@pytest.mark.parametrize("publisher_class", PublisherClass)
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TransientError("x"), ErrorClass.TRANSIENT),
        (RateLimitedError("x", retry_after_s=3), ErrorClass.RATE_LIMITED),
        (AuthError("x"), ErrorClass.AUTH),
        (InvalidError("x"), ErrorClass.INVALID),
        (PermanentError("x"), ErrorClass.PERMANENT),
        (OutcomeUnknownError("x"), ErrorClass.UNKNOWN),
    ],
)
def test_a_publish_error_means_the_same_for_every_class(
    publisher_class: PublisherClass, error: PublishError, expected: ErrorClass
) -> None:
    assert error_class_of(error, publisher_class) is expected


@pytest.mark.parametrize("error", [TimeoutError(), KeyError("title"), ConnectionResetError()])
def test_any_other_error_is_unknown_unless_the_effect_is_local(error: Exception) -> None:
    classes = {publisher_class: error_class_of(error, publisher_class) for publisher_class in PublisherClass}
    assert classes == {
        PublisherClass.LOCAL: ErrorClass.TRANSIENT,
        PublisherClass.KEYED: ErrorClass.UNKNOWN,
        PublisherClass.CHECKABLE: ErrorClass.UNKNOWN,
        PublisherClass.NONE: ErrorClass.UNKNOWN,
    }


def test_a_publisher_that_declares_nothing_is_never_rerun_automatically() -> None:
    assert RecordingPublisher.publisher_class is PublisherClass.NONE
    assert [c for c in PublisherClass if c.may_rerun] == [PublisherClass.LOCAL, PublisherClass.KEYED]


@given(st.text(), st.integers(0, 1000), st.text(), st.integers(0, 1000))
def test_the_key_repeats_for_a_rerun_and_changes_for_a_deliberate_retry(
    chain: str, generation: int, other_chain: str, other_generation: int
) -> None:
    key = idempotency_key(chain, generation)
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")
    is_same = (chain, generation) == (other_chain, other_generation)
    assert (key == idempotency_key(other_chain, other_generation)) is is_same


def test_the_key_of_a_chain_never_changes_between_versions() -> None:
    assert idempotency_key("0199", 1) == "7d74d00a0d89cd0d75d37f79c5b57b46"


def test_a_wrong_option_is_named_and_its_value_never_shown() -> None:
    class Options(msgspec.Struct, forbid_unknown_fields=True):
        token: int

    with pytest.raises(SettingsError) as caught:
        read_options({"token": "s3cret"}, Options)
    assert caught.value.message.startswith("options.token: Expected `int`")
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize("name", ["folder", "webhook"])
def test_an_unknown_option_is_named_with_its_platform(name: str) -> None:
    with pytest.raises(SettingsError, match=r"platforms\.p1\.options.*`colour`"):
        load_publishers(catalogue_of(name, options={"colour": 1, "url": "https://example.org"}), Settings())


def test_an_unknown_publisher_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"platforms\.p1\.publisher: .*'nobody'.*folder, .*mine, .*null, .*webhook"):
        load_publishers(catalogue_of("nobody"), Settings(), {"mine": RecordingPublisher})


def test_a_publisher_that_cannot_be_made_is_named_with_the_place_and_not_with_its_words() -> None:
    class Broken(RecordingPublisher):
        def __init__(self, *_: object) -> None:
            raise RuntimeError("s3cret")

    with pytest.raises(SettingsError) as caught:
        load_publishers(catalogue_of("mine"), Settings(), {"mine": Broken})
    assert re.search(
        r"platforms\.p1\.publisher: 'mine' .*RuntimeError at .*test_publisher_errors", caught.value.message
    )
    assert "s3cret" not in caught.value.message


def test_each_platform_has_a_publisher_of_its_own() -> None:
    publishers = load_publishers(catalogue_of("folder", "folder", "mine"), Settings(), {"mine": RecordingPublisher})
    assert isinstance(publishers["p1"], FolderPublisher)
    assert isinstance(publishers["p3"], RecordingPublisher)
    assert publishers["p1"] is not publishers["p2"]


async def test_a_shared_publisher_is_opened_once_and_closed_even_after_an_error() -> None:
    shared = RecordingPublisher({}, Settings())
    publishers = load_publishers(catalogue_of("mine", "mine"), Settings(), {"mine": shared})
    with pytest.raises(ZeroDivisionError):
        async with opened_publishers(publishers):
            raise ZeroDivisionError
    assert shared.calls == ["open", "close"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, TransientError) for status in (408, 425, 500, 502, 503, 599)),
        (504, OutcomeUnknownError),  # a proxy waited for the receiver, which may have taken the post
        (429, RateLimitedError),
        *((status, AuthError) for status in (401, 403)),
        *((status, InvalidError) for status in (400, 404, 413, 415, 422)),
        *((status, PermanentError) for status in (301, 302, 307, 304, 405, 409, 410, 418)),
    ],
)
def test_every_status_of_an_answer_has_one_meaning(status: int, expected: type[PublishError]) -> None:
    assert error_type_of(Answer(status=status)) is expected


def test_a_503_that_says_when_to_come_back_is_a_rate_limit() -> None:
    assert error_type_of(Answer(status=503, retry_after="5")) is RateLimitedError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("-5", 0),
        ("999999", 3600),
        ("9" * 400, 3600),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0),
        ("Fri, 01 Jan 2027 00:00:00 GMT", 3600),
        (None, 60),
        ("", 60),
        ("soon", 60),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_an_hour(text: str | None, seconds: float) -> None:
    assert read_retry_after(text, NOW_MS) == seconds


@given(st.text())
def test_any_retry_after_is_between_now_and_an_hour(text: str) -> None:
    assert 0 <= read_retry_after(text, NOW_MS) <= 3600


@pytest.mark.parametrize(
    ("body", "post"),
    [
        (b'{"provider_post_id": "p", "id": 1, "publish_url": "https://e.org/p"}', ("p", "https://e.org/p")),
        (b'{"id": 17, "url": "http://e.org/17"}', ("17", "http://e.org/17")),
        (b'{"id": true, "url": "javascript:alert(1)"}', (None, None)),
        (b'{"id": {}, "url": 3}', (None, None)),
        (b"[1]", (None, None)),
        (b"", (None, None)),
        (b"\xff\xfe", (None, None)),
        (b"[" * 100_000, (None, None)),
    ],
)
def test_an_answer_names_the_post_only_with_an_id_and_an_http_address(
    body: bytes, post: tuple[str | None, str | None]
) -> None:
    assert read_post(Answer(status=200, body=body)) == post


def test_a_post_s_id_and_address_are_kept_only_if_they_can_be_shown() -> None:
    kept = PublishResult(provider_post_id=" 17\n", publish_url="https://x.test/1\x1b[2J", detail={"a": 1}).storable()
    assert (kept.provider_post_id, kept.publish_url) == ("17", None)
    assert kept.detail == {"a": 1, "unprintable": {"publish_url": r"https://x.test/1\x1b[2J"}}
    assert kept.storable() == kept
    assert PublishResult(provider_post_id="测试-1").storable().provider_post_id == "测试-1"
