"""A Mastodon status made from a task, and recognised again in what a server shows."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.publishing import InvalidError, Media
from everpost_workers.publishers.mastodon.limits import Limits, read_limits
from everpost_workers.publishers.mastodon.sent import Kept, is_ours, read_kept, sent_digest
from everpost_workers.publishers.mastodon.status import count_length, read_content
from mastodon_double import INSTANCE, to_html

LIMITS = read_limits(INSTANCE)


def media(content_type: str = "image/png", size_bytes: int = 10, alt: str | None = None) -> Media:
    return Media(
        path=Path("/x/f"), size_bytes=size_bytes, filename="f", content_type=content_type, root=Path("/x"), alt=alt
    )


def test_a_status_has_the_fields_of_the_task() -> None:
    data = {
        "title": "a",
        "tags": ["b"],
        "visibility": "unlisted",
        "spoiler_text": "careful",
        "sensitive": True,
        "language": "en",
        "in_reply_to_id": "17",
    }
    assert read_content(data, [], LIMITS).form(["1", "2"]) == [
        ("status", "a\n\n#b"),
        ("media_ids[]", "1"),
        ("media_ids[]", "2"),
        ("spoiler_text", "careful"),
        ("visibility", "unlisted"),
        ("sensitive", "true"),
        ("language", "en"),
        ("in_reply_to_id", "17"),
    ]


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("测试", 2),
        ("👩‍👩‍👧", 1),
        ("see https://a.example/" + "x" * 500, 27),
        ("@alice@mastodon.example hi", 9),
    ],
)
def test_a_text_is_counted_as_mastodon_counts(text: str, length: int) -> None:
    assert count_length(text, LIMITS) == length


@pytest.mark.parametrize(
    ("data", "files", "told"),
    [
        ({"text": "x" * 501}, [], "500 characters"),
        ({"text": "x" * 400, "spoiler_text": "y" * 101}, [], "500 characters"),
        ({}, [], "neither text nor media"),
        ({"text": "a", "visibility": "secret"}, [], "visibility must be"),
        ({"text": "a", "sensitive": "yes"}, [], "true or false"),
        ({"text": "a", "language": "English"}, [], "not a language"),
        ({"text": "a", "in_reply_to_id": 3}, [], "must be text"),
        ({}, [media()] * 5, "4 files"),
        ({}, [media("application/zip")], "type application/zip"),
        ({}, [media(size_bytes=16_777_217)], "16,777,216 bytes"),
        ({}, [media(size_bytes=0)], "empty"),
        ({}, [media(alt="x" * 1_501)], "1,500 characters"),
        ({"alt": []}, [media()], "alt must be text"),
    ],
)
def test_what_the_server_would_not_take_is_refused(data: dict[str, Any], files: list[Media], told: str) -> None:
    with pytest.raises(InvalidError, match=told):
        read_content(data, files, LIMITS)


@pytest.mark.parametrize(
    "instance", [{}, {"configuration": 3}, {"configuration": {"statuses": {"max_characters": "many"}}}]
)
def test_a_server_that_does_not_tell_its_limits_has_mastodons(instance: dict[str, Any]) -> None:
    assert read_limits(instance) == Limits()


@given(st.text(alphabet="a b\n<>&\"'钱👩🏽#@x.", max_size=80).filter(lambda text: text.strip()))
def test_a_text_is_recognised_in_the_html_that_the_server_makes_of_it(text: str) -> None:
    kept = Kept("digest", sent_at_ms=0, sent_digests=[sent_digest(text, "", 0)])
    assert is_ours({"content": to_html(text)}, kept)


@pytest.mark.parametrize(
    "text",
    [
        "see https://a.example/a/very/long/path/that/is/cut/when/it/is/shown?x=1&y=2 now",
        "@bob@other.example look\n\nat #this <b>",
    ],
)
def test_a_text_with_links_and_mentions_is_recognised_too(text: str) -> None:
    kept = Kept("digest", sent_at_ms=0, sent_digests=[sent_digest(text, "spoiler", 0)])
    assert is_ours({"content": to_html(text), "spoiler_text": "spoiler"}, kept)
    assert not is_ours({"content": to_html(text + "!"), "spoiler_text": "spoiler"}, kept)


def test_a_status_with_the_same_text_and_another_number_of_files_is_another() -> None:
    kept = Kept("digest", sent_at_ms=0, sent_digests=[sent_digest("a", "", 1)])
    assert not is_ours({"content": "<p>a</p>"}, kept)
    assert is_ours({"content": "<p>a</p>", "media_attachments": [{"id": "9"}]}, kept)


def test_a_status_with_the_files_that_were_sent_is_ours_whatever_it_says() -> None:
    kept = Kept("digest", sent_at_ms=0, sent_media_ids=["8", "9"])
    assert is_ours({"content": "", "media_attachments": [{"id": "9"}, {"id": "8"}]}, kept)
    assert not is_ours({"content": "", "media_attachments": [{"id": "9"}, {"id": "7"}]}, kept)


@pytest.mark.parametrize("saved", [None, 3, "x", [], {}, {"digest": 3}, {"digest": "d", "media_ids": [1]}])
def test_a_checkpoint_of_another_kind_counts_as_none(saved: Any) -> None:
    assert read_kept(saved, "now") == Kept("now")
