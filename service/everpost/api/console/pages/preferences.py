"""Keeps a person's language and theme in cookies."""

from collections.abc import Iterator, Mapping

from everpost.api.console.answers import SeeOther
from everpost.api.console.forms import read_form
from everpost.api.console.frame import LANGUAGE_COOKIE, THEME_COOKIE, THEMES
from everpost.api.console.languages import NAMES
from everpost.api.http.json_answer import JsonAnswer
from everpost.api.services import ApiRequest

YEAR_S = 31_536_000


async def set_preferences(request: ApiRequest) -> JsonAnswer:
    """Keep what was chosen, and go back to the page."""
    form = await read_form(request)
    return SeeOther(f"./{_safe(form.get('back', ''))}", *_cookies(form))


def _cookies(form: Mapping[str, str]) -> Iterator[str]:
    """The cookies. Without a Path they hold for the whole console, wherever a proxy puts it (RFC 6265, 5.1.4)."""
    for field, cookie, allowed in (("language", LANGUAGE_COOKIE, NAMES), ("theme", THEME_COOKIE, THEMES)):
        if (value := form.get(field)) in allowed:
            yield f"{cookie}={value}; Max-Age={YEAR_S}; SameSite=Lax; HttpOnly"


def _safe(back: str) -> str:
    """The page to go back to, if it can only be one of this console."""
    path = back.partition("?")[0]
    is_own = back.isascii() and back.isprintable() and not back.startswith("/") and not {":", "\\", "."} & set(path)
    return back if is_own else ""
