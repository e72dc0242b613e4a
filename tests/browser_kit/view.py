"""A page as a person has it: language, theme, size; and what must be true of every page."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import axe_playwright_python
from playwright.sync_api import Browser, Page

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
PICTURES = os.environ.get("PICTURES")
"""A folder for a picture of every page that is checked; none by default."""

SERIOUS = {"serious", "critical"}
WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


class Look(NamedTuple):
    """How a person looks at a page."""

    language: str = "en-US"
    theme: Literal["light", "dark"] = "light"
    width: int = 1360
    height: int = 900
    script: bool = True

    @property
    def name(self) -> str:
        return f"{self.language[:2]}-{self.theme}-{self.width}"


ENGLISH = Look()
DARK = Look(theme="dark")
CHINESE = Look(language="zh-CN")
PHONE = Look(width=390, height=844)
CHINESE_PHONE = Look(language="zh-CN", theme="dark", width=390, height=844)
WITHOUT_SCRIPT = Look(script=False)
LOOKS = (ENGLISH, DARK, CHINESE, PHONE, CHINESE_PHONE)


@contextmanager
def viewing(
    browser: Browser, look: Look = ENGLISH, *, tolerated: str = "status of 4", **options: Any
) -> Iterator[Page]:
    """A new page of a person; what the browser complains about fails the test at its end.

    Args:
        tolerated: Words of complaints that fail nothing: answers that refuse.
    """
    context = browser.new_context(
        locale=look.language,
        color_scheme=look.theme,
        viewport={"width": look.width, "height": look.height},
        java_script_enabled=look.script,
        **options,
    )
    page = context.new_page()
    page.add_init_script(WATCH)
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
        left = [one for one in complaints if tolerated not in one]
        assert not left, left
    finally:
        context.close()


def check_page(page: Page, name: str, look: Look = ENGLISH) -> None:
    """Check what must be true of every page: nothing serious by axe, no violation of its policy, nothing cut off."""
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}-{look.name}.png", full_page=True)
    assert page.evaluate("window.violations") == []
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, (
        "it is wider than its window"
    )
    found = found_by_axe(page)
    assert not found, "\n".join(found)


def found_by_axe(page: Page) -> Sequence[str]:
    """The serious findings of axe-core (https://github.com/dequelabs/axe-core)."""
    page.evaluate(_axe())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


@cache
def _axe() -> str:
    return AXE.read_text("utf-8")
