"""Checks the built site: its pages load nothing from other hosts.

python docs_site/built_site.py FOLDER
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""The attribute of each element that makes a browser load something."""
NOT_LOADED = {"canonical", "next", "prev", "alternate"}
"""Kinds of `link` elements that only name an address."""


class _Loaded(HTMLParser):
    """Collects what a page loads from other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address if it has a host."""
        given = dict(attrs)
        address = given.get(LOADED.get(tag, "")) or ""
        if address.startswith(("http:", "https:", "//")) and given.get("rel") not in NOT_LOADED:
            self.found.append(f"<{tag}> {address}")


def loaded_from_elsewhere(folder: Path) -> Iterator[str]:
    """What the pages and styles of a folder load from other hosts."""
    for file in sorted(folder.rglob("*.html")):
        page = _Loaded()
        page.feed(file.read_text("utf-8"))
        yield from (f"{file.relative_to(folder)}: {found}" for found in page.found)
    for file in sorted(folder.rglob("*.css")):
        text = file.read_text("utf-8")
        if "url(http" in text or "@import" in text:
            yield f"{file.relative_to(folder)} loads from elsewhere"


def main() -> None:
    """Exit with 1 if a page loads something from another host, or if there are no pages."""
    folder = Path(sys.argv[1])
    found = list(loaded_from_elsewhere(folder))
    pages = len(list(folder.rglob("*.html")))
    sys.stdout.write("".join(f"{line}\n" for line in found))
    sys.stdout.write(f"{pages} pages in {folder}/index.html; {len(found)} of their parts come from other hosts.\n")
    sys.exit(1 if found or not pages else 0)


if __name__ == "__main__":
    main()
