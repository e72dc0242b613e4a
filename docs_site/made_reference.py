"""The tables of docs/reference, made from the code: settings, routes, error codes and commands.

python docs_site/made_reference.py     writes them into the pages, between their markers
"""

import inspect
import re
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Meta

from everpost.api.http.problems import STATUS_OF_CODE
from everpost.error_codes import meaning_of_codes
from everpost.settings import PREFIX, Settings
from everpost.views.bulk_answers import REASONS
from made_commands import commands_table
from made_routes import document, routes_table
from marked_text import table, write_between

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
MENTION = re.compile(r"docs/((?:\w+/)?[\w-]+)\.md(#[\w-]+)?")


def settings_table() -> str:
    """Every setting with its default, its values and its meaning, which is in the docstring of `Settings`."""
    meanings = described_attributes(Settings)
    defaults = Settings()
    types = msgspec.structs.fields(Settings)
    rows = [
        (
            f"`{PREFIX}{field.name.upper()}`",
            shown_default(getattr(defaults, field.name)),
            values_of(field.type),
            with_links(meanings.get(field.name, "")),
        )
        for field in types
    ]
    return "\n".join(table(("variable", "default", "values", "meaning"), rows))


def described_attributes(of: type) -> dict[str, str]:
    """The meaning of each attribute, from the section `Attributes` of a docstring."""
    section = (inspect.getdoc(of) or "").partition("Attributes:\n")[2]  # its indentation depends on Python's version
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section, flags=re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).strip() for name, text in entries}


def shown_default(value: object) -> str:
    """A default as people write it in an environment variable."""
    if value is None:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def values_of(annotation: Any) -> str:
    """Which values a setting takes, from its type."""
    kinds = [kind for kind in _kinds(annotation) if kind is not type(None)]
    limits = next((part for part in _metas(annotation)), Meta())
    if bool in kinds:
        return "`true`, `false`"
    if Path in kinds:
        return "a path"
    if choices := re.fullmatch(r"\^\(([\w|]+)\)\$", limits.pattern or ""):
        return ", ".join(f"`{choice}`" for choice in choices[1].split("|"))
    if int in kinds or float in kinds:
        return _range(limits, "an integer" if int in kinds else "a number")
    return "text"


def _kinds(annotation: Any) -> list[Any]:
    parts = get_args(annotation)
    return [kind for part in parts for kind in _kinds(part)] if parts else [annotation]


def _metas(annotation: Any) -> list[Meta]:
    if isinstance(annotation, Meta):
        return [annotation]
    return [found for part in getattr(annotation, "__metadata__", ()) + get_args(annotation) for found in _metas(part)]


def _range(limits: Meta, kind: str) -> str:
    least = limits.ge if limits.ge is not None else limits.gt
    above = "more than " if limits.gt is not None else ""
    if least is None:
        return kind
    if limits.le is None:
        return f"{kind}, {above or 'at least '}{least}"
    return f"{above}{least} to {limits.le}"


def codes_table() -> str:
    """Every error code with its HTTP status, in the order of the statuses, and its meaning."""
    meanings = meaning_of_codes()
    rows = [
        (f"`{code}`", str(int(status)), meanings[code])
        for code, status in sorted(STATUS_OF_CODE.items(), key=lambda entry: HTTPStatus(entry[1]))
    ]
    return "\n".join(table(("code", "status", "meaning"), rows))


def reasons_table() -> str:
    """The reasons for which bulk requests skip tasks, besides the error codes."""
    rows = [(f"`{code}`", meaning) for code, meaning in REASONS.items() if code not in STATUS_OF_CODE]
    return "\n".join(table(("reason", "meaning"), rows))


def with_links(text: str) -> str:
    """The text with a link for each document that it mentions, as seen from docs/reference."""
    return MENTION.sub(_link, text)


def _link(mention: re.Match[str]) -> str:
    page, anchor = mention[1], mention[2] or ""
    return f"[{title_of(page)}](../{page}.md{anchor})"


def title_of(page: str) -> str:
    """The title of a page of docs/."""
    return (ROOT / "docs" / f"{page}.md").read_text("utf-8").partition("\n")[0].removeprefix("# ")


def made() -> dict[tuple[str, str], str]:
    """Each table, by its page in docs/reference and the name of its markers."""
    return {
        ("settings", "settings"): settings_table(),
        ("http", "routes"): "\n".join(routes_table(document())),
        ("errors", "codes"): codes_table(),
        ("errors", "reasons"): reasons_table(),
        ("commands", "commands"): commands_table(),
    }


def main() -> None:
    """Write every table into its page."""
    for (page, name), text in made().items():
        file = REFERENCE / f"{page}.md"
        before = file.read_text("utf-8")
        after = write_between(before, text, name)
        if after != before:
            file.write_text(after, "utf-8")
            sys.stdout.write(f"docs/reference/{page}.md: {name} were written anew\n")


if __name__ == "__main__":
    main()
