"""A Bluesky post made from a task: its key, its text, its facets, its limits."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.platforms import Catalogue
from everpost.publishing import InvalidError, Media
from everpost.task.model import new_task_id
from everpost.text_lengths import Counting
from everpost_workers.publishers.bluesky.facets import find_spans, make_facets
from everpost_workers.publishers.bluesky.keys import ALPHABET, record_key
from everpost_workers.publishers.bluesky.options import BlueskyOptions
from everpost_workers.publishers.bluesky.record import make_embed, make_record, read_content

KEY = "0123456789abcdef0123456789abcdef"
TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")  # https://atproto.com/specs/tid
OPTIONS = BlueskyOptions()
NOW_MS = 1_800_000_000_000


def media(content_type: str = "image/png", size_bytes: int = 10, alt: str | None = None) -> Media:
    return Media(
        path=Path("/x/f"), size_bytes=size_bytes, filename="f", content_type=content_type, root=Path("/x"), alt=alt
    )


def time_of(key: str) -> int:
    """The microseconds in a TID."""
    value = 0
    for character in key:
        value = value * 32 + ALPHABET.index(character)
    return value >> 10


@given(st.text(alphabet="0123456789abcdef", min_size=32, max_size=32), st.integers(0, (1 << 48) - 1))
def test_a_key_is_a_tid_and_always_the_same(idempotency_key: str, now_ms: int) -> None:
    task_id = new_task_id(now_ms)
    key = record_key(idempotency_key, task_id)
    assert TID.fullmatch(key)
    assert key == record_key(idempotency_key, task_id)


def test_the_time_in_a_key_lies_in_the_two_days_before_the_task() -> None:
    task_us = NOW_MS * 1_000
    assert task_us - 2 * (1 << 36) <= time_of(record_key(KEY, new_task_id(NOW_MS))) < task_us


@pytest.mark.parametrize("task_id", ["t1", "", "0" * 32, "ffffffffffffffffffffffffffffffff", "not-a-uuid"])
def test_a_task_with_a_foreign_id_has_a_key_too(task_id: str) -> None:
    assert TID.fullmatch(record_key(KEY, task_id))
    assert record_key(KEY, task_id) != record_key(KEY[::-1], task_id)


def test_tasks_of_one_moment_have_different_keys() -> None:
    task_id = new_task_id(NOW_MS)
    assert len({record_key(f"{number:032x}", task_id) for number in range(10_000)}) == 10_000


def features(text: str, **dids: str) -> list[tuple[str, str]]:
    """The marked parts of the text, cut out by their byte offsets, and what they mean."""
    facets = make_facets(text, find_spans(text), {"bob.test": "did:plc:bob", **dids})
    found = []
    for facet in facets:
        index, (feature,) = facet["index"], facet["features"]
        part = text.encode()[index["byteStart"] : index["byteEnd"]].decode()
        found.append((part, feature.get("uri") or feature.get("did") or feature["tag"]))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://a.example/x.", [("https://a.example/x", "https://a.example/x")]),
        ("(https://a.example/b_(c))", [("https://a.example/b_(c)", "https://a.example/b_(c)")]),
        ("钱 https://a.example/路径。", [("https://a.example/路径", "https://a.example/路径")]),
        ("👩‍👩‍👧 @bob.test, hi", [("@bob.test", "did:plc:bob")]),
        ("@Bob.Test", [("@Bob.Test", "did:plc:bob")]),
        ("@nobody.test and a@bob.test", []),
        ("#测试 #b2! #1 # #️⃣x", [("#测试", "测试"), ("#b2", "b2")]),
        ("\uff03全角", [("\uff03全角", "全角")]),
        ("https://a.example/#part #tag", [("https://a.example/#part", "https://a.example/#part"), ("#tag", "tag")]),
        ("https://", []),
        ("#" + "x" * 65, []),
    ],
)
def test_links_mentions_and_tags_are_marked_by_bytes(text: str, expected: list[tuple[str, str]]) -> None:
    assert features(text) == expected


@given(st.text(alphabet="a #@.钱👩🏽\u200d://https", max_size=60))
def test_facets_of_any_text_are_whole_characters_in_order(text: str) -> None:
    end = 0
    for facet in make_facets(text, find_spans(text), {}):
        index = facet["index"]
        assert end <= index["byteStart"] < index["byteEnd"]
        end = index["byteEnd"]
        text.encode()[index["byteStart"] : end].decode()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"title": "a", "description": " b "}, "a\n\nb"),
        ({"text": "t", "title": "a"}, "t"),
        ({"title": "a #Eins", "tags": ["eins", "zwei drei", "#vier", "vier"]}, "a #Eins\n\n#zweidrei #vier"),
        ({"tags": ["only"]}, "#only"),
    ],
)
def test_the_text_has_title_description_and_the_tags_it_lacks(data: dict[str, Any], text: str) -> None:
    assert read_content(data, [], OPTIONS).text == text


def test_tags_that_make_the_text_too_long_go_into_the_record() -> None:
    content = read_content({"text": "x" * 300, "tags": ["a", "b"]}, [], OPTIONS)
    assert (content.text, content.tags) == ("x" * 300, ["a", "b"])
    assert make_record(content, [], None, "2026-01-01T00:00:00.000Z")["tags"] == ["a", "b"]


def test_a_text_of_300_graphemes_is_taken_however_many_code_points_they_have() -> None:
    family = "👩‍👩‍👧"
    assert read_content({"text": family * 150}, [], OPTIONS).text == family * 150


@pytest.mark.parametrize(
    ("data", "files", "told"),
    [
        ({"text": "x" * 301}, [], "300 characters"),
        ({"text": "é" * 301}, [], "300 characters"),
        ({"text": "👩‍👩‍👧" * 299}, [], "bytes of text"),
        ({}, [], "neither text nor media"),
        ({"text": 3}, [], "text must be text"),
        ({"text": "a\0"}, [], "cannot be sent"),
        ({"text": "\ud800"}, [], "cannot be sent"),
        ({"text": "x" * 300, "tags": [str(number) for number in range(9)]}, [], "8 tags"),
        ({"text": "x" * 300, "tags": ["y" * 65]}, [], "64 characters"),
        ({"text": "a", "tags": "a", "languages": ["en", "de", "fr", "it"]}, [], "3 languages"),
        ({"text": "a", "languages": ["not a language"]}, [], "not a language tag"),
        ({"text": "a", "languages": [3]}, [], "list of texts"),
        ({"text": "a", "labels": ["nice"]}, [], "not a label"),
        ({}, [media()] * 5, "4 images"),
        ({}, [media(), media("video/mp4")], "one video"),
        ({}, [media("video/quicktime")], "as MP4"),
        ({}, [media("audio/wav")], "images and videos"),
        ({}, [media(size_bytes=2_000_001)], "2,000,000 bytes"),
        ({}, [media("video/mp4", 300_000_001)], "300,000,000 bytes"),
        ({}, [media(size_bytes=0)], "empty"),
        ({}, [media(alt="x" * 10_001)], "too long"),
        ({"alt": 3}, [media()], "alt must be text"),
    ],
)
def test_what_the_network_would_not_take_is_refused(data: dict[str, Any], files: list[Media], told: str) -> None:
    with pytest.raises(InvalidError, match=told):
        read_content(data, files, OPTIONS)


def test_a_record_has_what_the_task_says() -> None:
    data = {"text": "a", "languages": ["en", "zh-Hans"], "labels": ["nudity"], "alt": "a face"}
    content = read_content(data, [media()], OPTIONS)
    record = make_record(content, [], make_embed([media()], content.alts, ["blob"]), "2026-01-01T00:00:00.000Z")
    assert record == {
        "$type": "app.bsky.feed.post",
        "text": "a",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "langs": ["en", "zh-Hans"],
        "labels": {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "nudity"}]},
        "embed": {"$type": "app.bsky.embed.images", "images": [{"image": "blob", "alt": "a face"}]},
    }


def test_each_image_has_its_own_description() -> None:
    files = [media(alt="one"), media()]
    content = read_content({"alt": "ignored, as the file has one"}, files, OPTIONS)
    assert content.alts == ["one", ""]


def test_the_catalogue_refuses_what_the_publisher_would_refuse() -> None:
    platform = Catalogue.read().find("bluesky")
    limits = {rule.types: rule.bytes_max for rule in platform.media}
    assert limits == {("image/*",): OPTIONS.most_image_bytes, ("video/mp4",): OPTIONS.most_video_bytes}
    assert (platform.text_max, platform.text_counting, platform.media_max) == (300, Counting.GRAPHEMES, 4)
