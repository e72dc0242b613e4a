"""The platform catalogue: how platforms are found, and what a user's file may contain."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.api.routes.stats import PlatformView
from everpost.errors import InvalidValue, SettingsError, UnknownPlatform
from everpost.platforms import Catalogue, Platform

BUILT_IN = Catalogue.read()
ORIGINAL = {1: "xiaohongshu", 2: "channels", 3: "douyin", 4: "kuaishou", 5: "bilibili"}


def make_platform(**fields: Any) -> Platform:
    return Platform(**{"id": 1, "name": "a", "publisher": "folder", **fields})


def read_toml(folder: Path, text: str) -> Catalogue:
    path = folder / "mine.toml"
    path.write_text(text, "utf-8")
    return Catalogue.read(path)


def test_the_built_in_platforms_have_the_ids_of_the_original() -> None:
    assert {platform.id: platform.name for platform in BUILT_IN if platform.id <= len(ORIGINAL)} == ORIGINAL
    assert {BUILT_IN.find(number).publisher for number in ORIGINAL} == {"folder"}


def test_a_platform_that_was_added_later_has_a_publisher_of_its_own_and_needs_an_account() -> None:
    later = [platform for platform in BUILT_IN if platform.id > len(ORIGINAL)]
    assert {platform.name: platform.publisher for platform in later if platform.needs_account}.items() >= {
        ("bluesky", "bluesky"),
        ("mastodon", "mastodon"),
    }


def test_the_list_of_platforms_shows_all_that_the_catalogue_says_but_secrets() -> None:
    hidden = {"options", "internal"}
    assert set(PlatformView.__struct_fields__) == set(Platform.__struct_fields__) - hidden


@given(st.sampled_from(list(BUILT_IN)), st.data())
def test_every_spelling_of_a_platform_finds_it_in_any_case(platform: Platform, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(BUILT_IN.spellings(platform)))
    cases = data.draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    mixed = "".join(c.upper() if is_upper else c.lower() for c, is_upper in zip(text, cases, strict=True))
    assert BUILT_IN.find(mixed) is platform
    assert BUILT_IN.find(platform.id) is platform


@given(st.text(max_size=100) | st.integers())
def test_any_value_finds_the_platform_that_spells_it_or_none(value: str | int) -> None:
    spelled = [p for p in BUILT_IN if str(value).casefold() in {text.casefold() for text in BUILT_IN.spellings(p)}]
    if spelled:
        assert [BUILT_IN.find(value)] == spelled
        return
    with pytest.raises(UnknownPlatform, match=r"douyin \(3\)") as caught:
        BUILT_IN.find(value)
    assert caught.value.path == "$.platform"


@pytest.mark.parametrize("value", [True, 1.0, None, [1], "", " douyin", "03", "+3", "\uff13", 0, -1, 10**30])
def test_a_value_that_only_looks_like_a_platform_is_refused(value: Any) -> None:
    with pytest.raises(UnknownPlatform):
        BUILT_IN.find(value)


def test_a_very_long_name_is_not_repeated_whole_in_the_error() -> None:
    with pytest.raises(UnknownPlatform) as caught:
        BUILT_IN.find("x" * 1_000_000)
    assert len(caught.value.message) < 500


def test_spellings_begin_with_the_name_and_repeat_nothing() -> None:
    platform = make_platform(id=7, name="seven", aliases=("seven", "sieben"))
    assert Catalogue([platform]).spellings(platform) == ("seven", "7", "sieben")


def test_a_users_file_changes_single_fields_and_adds_platforms(tmp_path: Path) -> None:
    catalogue = read_toml(
        tmp_path,
        """
        [platforms.douyin]
        max_attempts = 1
        title_max = 30
        [platforms.mastodon]
        id = 6
        publisher = "webhook"
        aliases = ["Toot"]
        options = { url = "https://example.org" }
        """,
    )
    douyin = catalogue.find("douyin")
    assert (douyin.id, douyin.title, douyin.publisher) == (3, "Douyin", "folder")
    assert (douyin.max_attempts, douyin.title_max) == (1, 30)
    assert catalogue.find("TOOT").options == {"url": "https://example.org"}
    assert [platform.id for platform in catalogue][:6] == [1, 2, 3, 4, 5, 6]
    assert catalogue.find(6).name == "mastodon"


@pytest.mark.parametrize(
    "text",
    [
        "[platforms.ours]\nid = 6\npublisher = 'folder'",
        "[platforms.ours]\nid = 99\npublisher = 'folder'\naliases = ['Bluesky']",
        "[platforms.bsky]\nid = 99\npublisher = 'folder'",
    ],
)
def test_a_users_platform_replaces_one_that_was_added_later_with_its_id_or_name(tmp_path: Path, text: str) -> None:
    """A file that was valid before Everpost had that platform stays valid."""
    catalogue = read_toml(tmp_path, text)
    assert not [platform for platform in catalogue if platform.name == "bluesky"]
    assert catalogue.find("mastodon").publisher == "mastodon"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[platforms.douyin]\nid = 4", "platforms.kuaishou"),
        ("[platforms.douyin]\naliases = ['BiliBili']", "'bilibili' is platforms.douyin"),
        ("[platforms.douyin]\naliases = ['5']", "'5' is platforms.douyin"),
        ("[platforms.douyin]\ncolour = 'red'", "platforms.douyin: Object contains unknown field `colour`"),
        ("[platforms.douyin]\nmax_attempts = 'three'", "platforms.douyin.max_attempts: Expected `int"),
        ("[platforms.douyin]\nmax_attempts = true", "platforms.douyin.max_attempts"),
        ("[platforms.douyin]\nmax_attempts = 0", "platforms.douyin.max_attempts"),
        ("[platforms.douyin]\naliases = ['a', 3]", "platforms.douyin.aliases[1]"),
        ("[platforms.douyin]\nname = 'other'", "platforms.douyin.name"),
        ("[platforms.new]\nid = 6", "platforms.new: Object missing required field `publisher`"),
        ("[platforms.new]\npublisher = 'folder'", "platforms.new: Object missing required field `id`"),
        ("[platforms.'../up']\nid = 6\npublisher = 'folder'", "platforms.../up.name"),
        ("[platforms.'6']\nid = 7\npublisher = 'folder'", "platforms.6.name"),
        ("[platform.douyin]\nid = 3", "platform: unknown"),
        ("platforms = 3", "platforms: must hold"),
        ("[platforms]\ndouyin = 3", "platforms.douyin: must be a table"),
        ("[platforms", "is not valid TOML"),
        ("deep = " + "[" * 5_000, "is not valid TOML"),
    ],
)
def test_a_mistake_in_a_users_file_is_named_with_file_and_key(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_toml(tmp_path, text)
    assert str(tmp_path / "mine.toml") in caught.value.message
    assert named in caught.value.message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    for path in (tmp_path / "absent.toml", tmp_path, tmp_path / "latin.toml"):
        with pytest.raises(SettingsError, match=path.name):
            Catalogue.read(path)


@pytest.mark.parametrize(
    ("values", "path"),
    [(("12345", None, None), "$.title"), (("", "123456", None), "$.description"), ((None, None, [1, 2, 3]), "$.tags")],
)
def test_a_value_too_long_for_the_platform_is_refused_with_its_path(values: tuple[Any, Any, Any], path: str) -> None:
    platform = make_platform(title_max=4, description_max=5, tags_max=2)
    with pytest.raises(InvalidValue) as caught:
        platform.check(*values)
    assert caught.value.path == path
    platform.check("测试视频", "12345", ["a", "b"])
    make_platform().check("x" * 10_000, "x" * 10_000, ["x"] * 10_000)


def test_options_are_in_no_description_and_no_repr() -> None:
    platform = make_platform(options={"secret": "whsec_hidden"})
    assert "hidden" not in repr(platform) + msgspec.json.encode(platform.describe()).decode()
    assert platform.describe()["title"] == "a"
