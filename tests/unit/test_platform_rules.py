"""What the catalogue's rules refuse: lengths as platforms count them, tags, and media."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.errors import InvalidValue
from everpost.media_rules import MediaRule, NamedFile, check_media
from everpost.platforms import Platform
from everpost.text_lengths import Counting, length_of, total_of_tags

FAMILY = "👨‍👩‍👧‍👦"
LINK = "https://example.com/a/very/long/path?with=a&query"


@pytest.mark.parametrize(
    ("counting", "text", "length"),
    [
        (Counting.CHARACTERS, FAMILY, 7),
        (Counting.GRAPHEMES, FAMILY, 1),
        (Counting.GRAPHEMES, "e\u0301\r\n", 2),
        (Counting.GRAPHEMES, "测试", 2),
        (Counting.UTF16, "a😀", 3),
        (Counting.BYTES, "a测😀", 8),
        (Counting.MASTODON, f"see {LINK}", 4 + 23),
        (Counting.MASTODON, f"{LINK}。", 24),
        (Counting.MASTODON, "hi @ann@social.example !", 9),
        (Counting.MASTODON, f"{FAMILY}@", 2),
        (Counting.WEIGHTED, f"{LINK} a", 25),
        (Counting.WEIGHTED, "测a", 3),
        (Counting.WEIGHTED, f"{FAMILY}!", 3),
        (Counting.WEIGHTED, "😀", 2),
        (Counting.HALVES, "测试ab", 3),
        (Counting.HALVES, "a", 1),
    ],
)
def test_a_text_has_the_length_its_platform_counts(counting: Counting, text: str, length: int) -> None:
    assert length_of(text, counting) == length


@given(st.sampled_from(list(Counting)), st.text(max_size=200))
def test_every_text_can_be_counted(counting: Counting, text: str) -> None:
    assert 0 <= length_of(text, counting) <= 8 * len(text) + 23


@given(st.text(st.characters(codec="ascii", exclude_characters="\r@:"), max_size=100))
def test_plain_text_has_one_length_for_almost_all(text: str) -> None:
    assert {length_of(text, counting) for counting in Counting if counting is not Counting.HALVES} == {len(text)}


def test_tags_are_totalled_with_commas_and_quotes() -> None:
    assert total_of_tags(["one", "two words"]) == 3 + 1 + 11
    assert total_of_tags([]) == 0


def platform(**fields: Any) -> Platform:
    return Platform(**{"id": 1, "name": "a", "publisher": "folder", **fields})


@pytest.mark.parametrize(
    ("fields", "task", "path"),
    [
        ({"title_max": 3}, {"title": "测试视频"}, "$.title"),
        ({"title_min": 2}, {"title": "x"}, "$.title"),
        ({"title_max": 1, "title_counting": Counting.GRAPHEMES}, {"title": FAMILY * 2}, "$.title"),
        ({"description_max": 5, "description_counting": Counting.BYTES}, {"description": "测试"}, "$.description"),
        ({"tags_max": 1}, {"tags": ["a", "b"]}, "$.tags"),
        ({"tag_max": 3}, {"tags": ["abc", "abcd"]}, "$.tags[1]"),
        ({"tags_total_max": 8}, {"tags": ["abc", "d e"]}, "$.tags"),
    ],
)
def test_a_task_beyond_a_rule_is_refused_with_its_path(fields: dict[str, Any], task: dict[str, Any], path: str) -> None:
    values = {"title": "ok", "description": "", "tags": [], **task}
    with pytest.raises(InvalidValue) as refusal:
        platform(**fields).check(**values)
    assert refusal.value.path == path


def test_a_task_within_the_rules_passes() -> None:
    rules = {"title_min": 1, "title_max": 1, "title_counting": Counting.GRAPHEMES, "tags_total_max": 9, "tag_max": 3}
    platform(**rules).check(FAMILY, None, ["abc", "d e"])


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"text": FAMILY * 6}, "$.text"),
        ({"text": " ", "title": FAMILY * 6}, "$.title"),
        ({"title": "ab", "description": "cd"}, "$.description"),
    ],
)
def test_a_post_whose_text_is_too_long_is_refused_at_the_field_that_makes_it_so(
    data: dict[str, Any], path: str
) -> None:
    rules = {"text_max": 5, "text_counting": Counting.GRAPHEMES, "title_min": 3}
    with pytest.raises(InvalidValue, match="at most 5") as refusal:
        platform(**rules).check_text(data)
    assert refusal.value.path == path


@pytest.mark.parametrize(
    "data", [{}, {"text": FAMILY * 5}, {"title": "a"}, {"text": 3}, {"text": "a", "title": "x" * 9}]
)
def test_a_post_whose_text_fits_or_is_no_text_passes(data: dict[str, Any]) -> None:
    platform(text_max=5, text_counting=Counting.GRAPHEMES, title_min=3).check_text(data)


RULES = (
    MediaRule(types=("image/*",), files_max=2, bytes_max=1_000, width_max=100, height_max=50, alt_max=5),
    MediaRule(types=("video/mp4", "video/quicktime"), files_max=1, seconds_min=3, seconds_max=60),
)
PICTURE: dict[str, Any] = {"content_type": "image/png", "size_bytes": 1_000, "width": 100, "height": 50, "alt": "12345"}
FILM: dict[str, Any] = {"content_type": "video/mp4", "size_bytes": 10**9, "duration_s": 60.0}


def files(*named: dict[str, Any]) -> list[NamedFile]:
    return [NamedFile(path=f"$.files[{number}]", **fields) for number, fields in enumerate(named)]


@pytest.mark.parametrize(
    "named", [[], [PICTURE, PICTURE], [FILM], [PICTURE, FILM], [{}], [{"content_type": "image/x"}]]
)
def test_media_within_the_rules_pass(named: list[dict[str, Any]]) -> None:
    check_media("a", RULES, 0, 4, files(*named))


@pytest.mark.parametrize(
    ("named", "path", "words"),
    [
        ([PICTURE] * 3, "$.files[2]", "2 image/png files"),
        ([FILM, FILM], "$.files[1]", "1 video/mp4 files"),
        ([{**PICTURE, "size_bytes": 1_001}], "$.files[0]", "1,000 bytes"),
        ([{**PICTURE, "width": 101}], "$.files[0]", "pixels of width"),
        ([{**PICTURE, "height": 51}], "$.files[0]", "pixels of height"),
        ([{**PICTURE, "alt": "123456"}], "$.files[0]", "description"),
        ([PICTURE, {**FILM, "duration_s": 60.1}], "$.files[1]", "at most 60"),
        ([{**FILM, "duration_s": 2.9}], "$.files[0]", "at least 3"),
        ([{"content_type": "video/webm"}], "$.files[0]", "only image/*, video/mp4, video/quicktime"),
        ([PICTURE, PICTURE, FILM, {}, {}], "$.files", "at most 4 files"),
    ],
)
def test_media_beyond_a_rule_are_refused_with_their_path(named: list[dict[str, Any]], path: str, words: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        check_media("a", RULES, 0, 4, files(*named))
    assert refusal.value.path == path
    assert words in refusal.value.message


@pytest.mark.parametrize("named", [[PICTURE, FILM], [FILM, PICTURE], [PICTURE, {}, FILM]])
def test_media_that_a_platform_takes_alone_are_not_posted_with_others(named: list[dict[str, Any]]) -> None:
    rules = (RULES[0], msgspec.structs.replace(RULES[1], alone=True))
    check_media("a", rules, 0, 4, files(FILM, {}))
    with pytest.raises(InvalidValue, match="video/mp4, video/quicktime only without files of other types") as refusal:
        check_media("a", rules, 0, 4, files(*named))
    assert refusal.value.path == f"$.files[{len(named) - 1}]"


def test_a_platform_may_need_a_file_of_one_kind() -> None:
    rules = (RULES[0], msgspec.structs.replace(RULES[1], files_min=1))
    check_media("a", rules, 1, 2, files(PICTURE, FILM))
    check_media("a", rules, 1, 2, files(PICTURE, {}))  # it may be a film
    with pytest.raises(InvalidValue, match="at least 1 of video/mp4, video/quicktime") as refusal:
        check_media("a", rules, 1, 2, files(PICTURE))
    assert refusal.value.path == "$.files"


def test_a_platform_may_need_media() -> None:
    with pytest.raises(InvalidValue) as refusal:
        check_media("a", (), 1, None, [])
    assert refusal.value.path == "$.files"
