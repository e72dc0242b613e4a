"""The documentation site: references made from the code, pages, links, navigation, and the drawing of the statuses."""

import re
from pathlib import Path

import pytest

from built_site import loaded_from_elsewhere
from everpost.settings import Settings
from everpost.task.model import MOVES, TaskStatus
from made_reference import REFERENCE, described_attributes, made, values_of, with_links
from made_routes import document, routes, routes_details
from marked_text import apart, row, write_between
from site_pages import CONFIG, DECISIONS, configuration, page_of, site_text, sources, with_site_links
from status_drawing import PLACES, drawing

MADE = made()


@pytest.mark.parametrize(("page", "name"), MADE)
def test_the_reference_is_what_the_code_says(page: str, name: str) -> None:
    text = (REFERENCE / f"{page}.md").read_text("utf-8")
    assert write_between(text, MADE[page, name], name) == text, "`make reference` writes it anew"


def test_every_setting_has_a_meaning() -> None:
    assert set(described_attributes(Settings)) == set(Settings.__struct_fields__)


def test_the_values_of_a_setting_are_those_of_its_type() -> None:
    types = {field: values_of(kind) for field, kind in Settings.__annotations__.items()}
    assert types["port"] == "0 to 65535"
    assert types["job_timeout"] == "more than 0 to 31622400"
    assert types["insecure"] == "`true`, `false`"
    assert types["log_format"] == "`console`, `json`"
    assert types["media"] == "a path"
    assert types["max_jobs"] == "an integer, at least 1"


def test_a_document_that_is_mentioned_becomes_a_link_with_its_title() -> None:
    assert with_links("see docs/redis.md.") == "see [Redis that outlives its host](../redis.md)."
    assert with_links("see docs/deploy.md#systemd") == "see [Deploying](../deploy.md#systemd)"


def test_the_site_has_the_details_of_every_route() -> None:
    text = routes_details(document())
    for method, path, operation in routes(document()):
        assert f"#### {method} {path}\n" in text
        assert operation.get("description", operation["summary"]).partition("\n")[0] in text


def test_every_page_is_in_the_navigation_once() -> None:
    named = re.findall(r": \"?([\w./-]+\.md)", configuration())
    pages = [page_of(source) for source in sources()]
    assert sorted(named) == sorted([*map(str, pages), DECISIONS]), f"{CONFIG} has the navigation"


def test_links_lead_to_pages_or_to_the_repository() -> None:
    text = "[a](docs/redis.md#the-address) [b](compose.yaml) [c](docs/decisions) [d](https://x.example) [e](#here)"
    assert with_site_links(text, "README.md") == (
        "[a](redis.md#the-address) [b](https://github.com/everpost/everpost/blob/main/compose.yaml) "
        "[c](decisions/index.md) [d](https://x.example) [e](#here)"
    )
    assert with_site_links("[a](../CONTRIBUTING.md#tests)", "docs/layout.md") == "[a](contributing.md#tests)"
    assert with_site_links("[a](../deploy/systemd)", "docs/deploy.md") == (
        "[a](https://github.com/everpost/everpost/tree/main/deploy/systemd)"
    )
    assert with_site_links("```\n[a](nowhere.md)\n```", "README.md") == "```\n[a](nowhere.md)\n```"
    with pytest.raises(FileNotFoundError, match=r"nowhere\.md"):
        with_site_links("[a](nowhere.md)", "README.md")


def test_the_drawing_has_every_status_and_every_move() -> None:
    shown = site_text("docs/statuses.md", (REFERENCE.parent / "statuses.md").read_text("utf-8"))
    assert drawing() in shown
    assert "```mermaid" not in shown
    assert set(PLACES) == set(TaskStatus)
    assert drawing().count('<path d="M') == sum(map(len, MOVES.values())) + 1  # and the head of the arrows


def test_a_list_is_apart_from_the_paragraph_before_it() -> None:
    assert apart("so:\n- a\n  b\n- c\n\n- d") == "so:\n\n- a\n  b\n- c\n\n- d"


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert row("`a|b`", "c|d\ne") == "| `a|b` | c&#124;d e |"


def test_what_a_page_loads_from_another_host_is_found(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text(
        '<link rel="canonical" href="https://a.example"><a href="https://b.example">b</a><script src="x.js">'
    )
    assert list(loaded_from_elsewhere(tmp_path)) == []
    page.write_text('<img src="//c.example/c.png"><link rel="stylesheet" href="https://d.example/d.css">')
    (tmp_path / "site.css").write_text("@import 'e.css';")
    assert len(list(loaded_from_elsewhere(tmp_path))) == 3
