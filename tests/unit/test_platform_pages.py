"""The pages of publishers name every option with its default, and no other."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from everpost_workers.publishers.apprise import AppriseOptions
from everpost_workers.publishers.bluesky.options import BlueskyOptions
from everpost_workers.publishers.bluesky.record import LABELS
from everpost_workers.publishers.command.options import CommandOptions
from everpost_workers.publishers.mastodon.options import VISIBILITIES, MastodonOptions
from everpost_workers.publishers.wordpress.options import WordPressOptions
from everpost_workers.publishers.youtube.options import YouTubeOptions

PAGES = Path(__file__).parents[2] / "docs" / "platforms"
OPTIONS: dict[str, type[msgspec.Struct]] = {
    "apprise": AppriseOptions,
    "bluesky": BlueskyOptions,
    "command": CommandOptions,
    "mastodon": MastodonOptions,
    "wordpress": WordPressOptions,
    "youtube": YouTubeOptions,
}


def shown(field: Any) -> str:
    if field.required:
        return "required"
    if field.default is msgspec.NODEFAULT or field.default in {None, (), ""}:
        return "none"
    value = int(field.default) if isinstance(field.default, float) else field.default
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("page", OPTIONS)
def test_the_page_has_every_option_with_its_default_and_no_other(page: str) -> None:
    table = (PAGES / f"{page}.md").read_text("utf-8").partition("| option | default |")[2].partition("\n\n")[0]
    documented = re.findall(r"^\| `(\w+)` \| `?([^|`]*)`? \|", table, re.MULTILINE)
    fields = msgspec.structs.fields(OPTIONS[page])
    assert documented == [(field.name, shown(field)) for field in fields]


def words_of(page: str, field: str) -> list[str]:
    """What a page's row about a field of the post shows as code."""
    row = re.search(rf"^\| `{field}` \| (.*) \|$", (PAGES / f"{page}.md").read_text("utf-8"), re.MULTILINE)
    assert row is not None
    return re.findall(r"`([^`]+)`", row[1])


def test_the_pages_name_every_label_and_every_visibility() -> None:
    assert set(words_of("bluesky", "labels")) == LABELS
    assert tuple(words_of("mastodon", "visibility")) == VISIBILITIES
