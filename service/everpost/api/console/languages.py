"""The languages of the console: which one a browser gets, and its texts, from one TOML file a language."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("messages")
NAMES: Mapping[str, str] = {"en": "English", "zh": "中文"}
DEFAULT = "en"
ONE = "one"
OTHER = "other"


class Texts:
    """The texts of one language, by names such as `now.waiting`.

    A text may have places such as `{n}`. One that depends on a number is a table with `other`, and with `one` if the
    language has a singular.
    """

    def __init__(self, code: str, texts: Mapping[str, str]) -> None:
        self.code = code
        self._texts = texts

    def text(self, name: str, /, **places: Any) -> str:
        """A text with its places filled; numbers get separators.

        Raises:
            KeyError: There is no such text.
        """
        text = self._texts[name]
        return text.format(**{place: shown(value) for place, value in places.items()}) if places else text

    def count(self, name: str, n: int, /, **places: Any) -> str:
        """The text for a number of things."""
        form = f"{name}.{ONE}" if n == 1 else ""
        return self.text(form if form in self._texts else f"{name}.{OTHER}", n=n, **places)

    def has(self, name: str) -> bool:
        """Whether there is such a text."""
        return name in self._texts


def shown(value: Any) -> str:
    """A value in a text; integers get separators of thousands."""
    return f"{value:,}" if isinstance(value, int) else str(value)


@cache
def texts_of(code: str) -> Texts:
    """The texts of a language."""
    with (FOLDER / f"{code}.toml").open("rb") as file:
        return Texts(code, dict(_flat("", tomllib.load(file))))


def _flat(prefix: str, table: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in table.items():
        pairs += _flat(f"{prefix}{name}.", value) if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return pairs


def choose_language(chosen: str | None, accepted: str) -> str:
    """The code of the language for a browser.

    Args:
        chosen: What a person chose before; None if nothing.
        accepted: The header Accept-Language (RFC 9110, 12.5.4).
    """
    if chosen in NAMES:
        return str(chosen)
    wishes = sorted((_wish(part) for part in accepted.split(",")), reverse=True, key=lambda wish: wish[0])
    return next((code for weight, code in wishes if weight > 0 and code in NAMES), DEFAULT)


def _wish(part: str) -> tuple[float, str]:
    tag, _, parameters = part.strip().partition(";")
    try:
        weight = float(parameters.strip().removeprefix("q=") or 1)
    except ValueError:
        weight = 0.0
    return weight, tag.partition("-")[0].lower()
