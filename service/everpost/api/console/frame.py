"""The frame of every page: language, theme, navigation, and the templates that make the page."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from everpost.access import Right
from everpost.api.console import shapes, times
from everpost.api.console.addresses import root_of
from everpost.api.console.answers import PageAnswer
from everpost.api.console.languages import NAMES, Texts, choose_language, shown, texts_of
from everpost.api.console.static_files import address_of
from everpost.api.console.undecided import undecided_of
from everpost.api.http.audited import note_of
from everpost.api.http.rights import caller_of
from everpost.api.services import ApiRequest, services_of
from everpost.errors import ServiceError
from everpost.release import running_version

TEMPLATES = Path(__file__).with_name("templates")
THEMES = ("auto", "light", "dark")
LANGUAGE_COOKIE = "everpost_language"
THEME_COOKIE = "everpost_theme"


class Entry(NamedTuple):
    """An entry of the navigation.

    Attributes:
        name: Names its text and its icon.
        path: The page's address below the root; empty is the first page.
        right: Shown to callers that have it.
        is_whole: About everything, so it is not shown to callers with a scope.
    """

    name: str
    path: str
    right: Right = Right.READ
    is_whole: bool = False


NAVIGATION: tuple[tuple[Entry, ...], ...] = (
    (Entry("now", ""), Entry("tasks", "tasks"), Entry("unknown", "unknown")),
    (
        Entry("schedule", "schedule"),
        Entry("batches", "batches"),
        Entry("operations", "operations"),
        Entry("audit", "audit", Right.OPERATE, is_whole=True),
    ),
    (Entry("accounts", "accounts"), Entry("platforms", "platforms"), Entry("limits", "limits")),
    (Entry("keys", "keys", Right.ADMIN),),
    (Entry("help", "help"),),
)
"""The entries, in groups."""


def render(request: ApiRequest, template: str, *, status: int = 200, **values: Any) -> PageAnswer:
    """A page.

    Args:
        template: Its file in `templates/`.
        values: What the template shows, besides what `_frame_of` gives. `error` is why a form did nothing.
    """
    if isinstance(error := values.get("error"), ServiceError):
        note_of(request).error = error
    page = _environment().get_template(template)
    return PageAnswer(page.render(_frame_of(request) | values), status)


def texts_for(request: ApiRequest) -> Texts:
    """The texts in the language of the request."""
    return texts_of(choose_language(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")))


def _frame_of(request: ApiRequest) -> dict[str, Any]:
    texts = texts_for(request)
    path = request.scope["path"]
    query = request.scope["query_string"].decode("latin-1")
    theme = request.cookies.get(THEME_COOKIE, "auto")
    root, caller = root_of(path), caller_of(request)
    return {
        "t": texts.text,
        "tn": texts.count,
        "has_text": texts.has,
        "language": texts.code,
        "languages": NAMES,
        "theme": theme if theme in THEMES else "auto",
        "themes": THEMES,
        "root": root,
        "here": path.removeprefix("/"),
        "back": path.removeprefix("/") + (f"?{query}" if query else ""),
        "done": request.query_params.get("done"),
        "navigation": NAVIGATION,
        "caller": caller,
        "undecided": undecided_of(request),
        "may": caller.rights.__contains__,
        "file": lambda name: root + address_of(name),
        "version": running_version(),
        **times_in(texts, services_of(request).clock()),
    }


def times_in(texts: Texts, now_ms: int) -> Mapping[str, Callable[..., str]]:
    """The functions of templates that show times."""
    return {
        "ago": lambda text: times.ago(texts, text, now_ms),
        "span": lambda text: times.span_since(texts, text, now_ms),
        "seconds": lambda value: times.seconds(texts, value),
        "mark": lambda value: times.mark(texts, value),
    }


@cache
def _environment() -> jinja2.Environment:
    """Jinja2 with the templates; every value is escaped, and a value that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = shown
    environment.globals.update(shapes=shapes)
    return environment
