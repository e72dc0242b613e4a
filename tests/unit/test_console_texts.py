"""The console's languages: their texts are whole, and a browser gets the one it wants."""

import re
from pathlib import Path
from string import Formatter

import pytest

from everpost.api.console import times
from everpost.api.console.languages import FOLDER, NAMES, choose_language, texts_of

TEMPLATES = FOLDER.parent / "templates"
NOW_MS = 1_800_000_000_000  # 2027-01-15T08:00:00Z


def names_of(code: str) -> dict[str, set[str]]:
    """The names of a language's texts, with the places in each."""
    texts = texts_of(code)._texts
    return {
        name.removesuffix(".one"): {place for _, place, _, _ in Formatter().parse(text) if place}
        for name, text in texts.items()
        if f"{name.removesuffix('.one')}.other" not in texts or not name.endswith(".one")
    }


@pytest.mark.parametrize("code", [code for code in NAMES if code != "en"])
def test_every_language_has_the_same_texts_with_the_same_places(code: str) -> None:
    english = names_of("en")
    english = {name: places for name, places in english.items() if f"{name}.other" not in english}
    assert names_of(code) == english


@pytest.mark.parametrize("file", sorted(TEMPLATES.glob("*.html")), ids=lambda file: file.name)
def test_every_text_that_a_template_names_exists(file: Path) -> None:
    texts = texts_of("en")
    template = file.read_text("utf-8")
    for name in re.findall(r"\bt\('([\w.]+)'[,)]", template):
        assert texts.has(name), name
    for name in re.findall(r"\btn\('([\w.]+)',", template):
        assert texts.has(f"{name}.other"), name


@pytest.mark.parametrize(
    ("chosen", "accepted", "code"),
    [
        (None, "", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "fr,en;q=0.5,zh;q=0.6", "zh"),
        (None, "fr;q=1,zh;q=0", "en"),
        (None, "zh;q=oops", "en"),
        ("en", "zh-CN", "en"),
        ("xx", "zh", "zh"),
    ],
)
def test_a_browser_gets_the_language_it_wants_most(chosen: str | None, accepted: str, code: str) -> None:
    assert choose_language(chosen, accepted) == code


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2027-01-15T07:59:59.500Z", "just now"),
        ("2027-01-15T07:59:59.000Z", "1 s ago"),
        ("2027-01-15T07:57:00.000Z", "3 min ago"),
        ("2027-01-15T10:00:00.000Z", "in 2 h"),
        ("2027-01-12T08:00:00.000Z", "3 days ago"),
        ("yesterday", "yesterday"),
        (None, "never"),
    ],
)
def test_times_are_shown_by_how_long_ago_they_are(text: str | None, shown: str) -> None:
    assert times.ago(texts_of("en"), text, NOW_MS) == shown


def test_numbers_have_a_singular_where_the_language_has_one() -> None:
    english, chinese = texts_of("en"), texts_of("zh")
    assert english.count("now.tasks_wait", 1) == "1 task waits"
    assert english.count("now.tasks_wait", 12_000) == "12,000 tasks wait"
    assert chinese.count("now.tasks_wait", 1) == "1 个任务等待"
