"""Makes the pages of the documentation site in a folder: those of docs/, with what only the site has.

python docs_site/site_pages.py FOLDER     writes FOLDER/mkdocs.yml and FOLDER/pages, for `mkdocs build`

What only the site has: the details of routes and commands, the list of decisions, the drawing of the statuses, and the
README, CONTRIBUTING and CHANGELOG as pages. Links to other files of the repository lead to it.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import made_reference
from made_commands import commands_details
from made_routes import document, routes_details
from marked_text import apart, table, write_between
from status_drawing import drawing

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONFIG = Path(__file__).parent / "mkdocs.yml"
STYLE = Path(__file__).parent / "site.css"
REPOSITORY = "https://github.com/everpost/everpost"

OUTSIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages that are not in docs/, by their path in the repository."""
DECISIONS = "decisions/index.md"
NAV_OF_DECISIONS = "DECISIONS"  # stands in mkdocs.yml for the list of them

FENCE = re.compile(r"^```.*?^```$", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<=\]\()(?!https?://|#|mailto:)([^)#\s]+)(#[^)\s]*)?(?=\))")


def page_of(path: str) -> str | None:
    """The page of a file or folder of the repository; None if it is not a page."""
    if path in OUTSIDE:
        return OUTSIDE[path]
    if path == "docs/decisions":
        return DECISIONS
    inside = path.removeprefix("docs/")
    return inside if inside != path and (DOCS / inside).is_file() else None


def with_site_links(text: str, source: str) -> str:
    """The text of a document of the repository, with links as they are in the site.

    Args:
        source: The document's path in the repository.

    Raises:
        FileNotFoundError: A link leads nowhere.
    """
    here = PurePosixPath(page_of(source) or source).parent

    def link(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        path = os.path.normpath(PurePosixPath(source).parent / target)
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{source} links to {target}, which does not exist.")
        page = page_of(path)
        if page is None:
            return f"{REPOSITORY}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}{anchor}"
        return f"{os.path.relpath(page, here)}{anchor}"

    return _outside_code(text, lambda part: LINK.sub(link, apart(part)))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with its prose changed, and its code blocks as they are."""
    kept: list[str] = []
    last = 0
    for block in FENCE.finditer(text):
        kept += [change(text[last : block.start()]), block[0]]
        last = block.end()
    return "".join([*kept, change(text[last:])])


def decision_titles() -> dict[str, str]:
    """The title of each decision, by its file's name."""
    return {
        file.name: file.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        for file in sorted((DOCS / "decisions").glob("*.md"))
    }


def list_of_decisions() -> str:
    """A page that lists the decisions."""
    rows = [
        (number, f"[{choice}]({name})")
        for name, title in decision_titles().items()
        for number, _, choice in [title.partition(". ")]
    ]
    intro = "Choices that others might question: the context, the choice, what was given up, how to tell it was wrong."
    return "\n".join(["# Decisions", "", intro, "", *table(("number", "decision"), rows), ""])


def made_pages() -> dict[str, str]:
    """What is made from the code anew, and what only the site has, by page."""
    pages = {name: (DOCS / "reference" / f"{name}.md").read_text("utf-8") for name, _ in made_reference.made()}
    for (name, marker), text in made_reference.made().items():
        pages[name] = write_between(pages[name], text, marker)
    pages["http"] += f"\n## Every route\n\n{routes_details(document())}\n"
    pages["commands"] += f"\n## Every command\n\n{commands_details()}\n"
    return {f"docs/reference/{name}.md": text for name, text in pages.items()}


def site_text(source: str, text: str) -> str:
    """A document's text as it is in the site."""
    if source == "docs/statuses.md":
        text = re.sub(r"```mermaid\n.*?```", lambda _: drawing(), text, flags=re.DOTALL)
    return with_site_links(text, source)


def sources() -> list[str]:
    """The documents of the repository that are pages."""
    return [*OUTSIDE, *(str(file.relative_to(ROOT)) for file in sorted(DOCS.rglob("*.md")))]


def write_pages(folder: Path) -> None:
    """Write all pages, pictures and the style into an empty folder."""
    pages = {source: (ROOT / source).read_text("utf-8") for source in sources()} | made_pages()
    texts = {page_of(source): site_text(source, text) for source, text in pages.items()}
    texts[DECISIONS] = list_of_decisions()
    for page, text in texts.items():
        assert page is not None
        file = folder / page
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    for picture in (*DOCS.rglob("*.png"), *DOCS.rglob("*.svg")):
        copy = folder / picture.relative_to(DOCS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, copy)
    shutil.copyfile(STYLE, folder / STYLE.name)


def configuration() -> str:
    """mkdocs.yml with the decisions in its navigation."""
    listed = [{"All": DECISIONS}, *({title: f"decisions/{name}"} for name, title in decision_titles().items())]
    return CONFIG.read_text("utf-8").replace(NAV_OF_DECISIONS, json.dumps(listed, ensure_ascii=False))


def main() -> None:
    """Write the configuration and the pages into the folder that is named."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pages").mkdir(parents=True)
    write_pages(folder / "pages")
    (folder / "mkdocs.yml").write_text(configuration(), "utf-8")


if __name__ == "__main__":
    main()
