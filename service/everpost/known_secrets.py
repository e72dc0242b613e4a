"""Keeps secrets out of what is kept and shown: replaces known secret values in texts, whatever wrote them there."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "***"
SHORTEST = 6  # characters of a value that is replaced; shorter ones are parts of ordinary words and numbers
SHORTEST_ENCODED = 8  # of a value that is looked for in base64 too
MOST_LINES = 200  # of a value that is a whole file


class KnownSecrets:
    """Secret values that may have reached a publisher, in the forms in which they appear in texts.

    Args:
        besides: Others that are hidden too, with what they will have learnt by then.
    """

    def __init__(self, besides: "KnownSecrets | None" = None) -> None:
        self._values: set[str] = set()
        self._forms: tuple[str, ...] = ()
        self._besides = besides

    def learn(self, values: Iterable[str]) -> None:
        """Know these values too, and their parts if they are files of several lines or JSON."""
        new = {part for value in values for part in _parts(value) if len(part) >= SHORTEST} - self._values
        if not new:
            return
        self._values |= new
        forms = {form for value in self._values for form in _forms(value)}
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    @property
    def is_any(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self._forms) or (self._besides is not None and self._besides.is_any)

    def hide(self, text: str) -> str:
        """The text with each known secret replaced, also one that was cut off at either end of the text."""
        if self._besides is not None:
            text = self._besides.hide(text)
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return _without_cut(text, self._forms) if self._forms else text

    def hide_in(self, value: Any) -> Any:
        """A plain JSON value with the secrets in all its texts replaced; the value itself if there is nothing to do."""
        if not self.is_any:
            return value
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {self.hide_in(name): self.hide_in(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide_in(inner) for inner in value]
        return value


NO_SECRETS = KnownSecrets()
CURRENT: ContextVar[KnownSecrets] = ContextVar("everpost_secrets", default=NO_SECRETS)
"""The secrets of the attempt that runs in this context; log lines that it writes are without them."""


def _parts(value: str) -> Iterator[str]:
    yield value
    stripped = value.strip()
    if stripped != value:
        yield stripped
    if "\n" in stripped:
        yield from (line.strip() for line in stripped.splitlines()[:MOST_LINES])
    if stripped[:1] in {"{", "["}:
        yield from _texts_in(stripped)


def _texts_in(document: str) -> Iterator[str]:
    """The values in a JSON document, such as a file of cookies."""
    try:
        left = [json.loads(document)]
    except (ValueError, RecursionError):
        return
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str) and len(value) >= SHORTEST_ENCODED:
            yield value


def _forms(value: str) -> Iterator[str]:
    yield value
    yield quote(value, safe="")
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    if len(value) >= SHORTEST_ENCODED:
        yield from _in_base64(value.encode(errors="surrogatepass"))


def _in_base64(value: bytes) -> Iterator[str]:
    """The characters of base64 that only depend on the value, wherever it stands among other bytes (RFC 4648)."""
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(bytes(before) + value).decode().rstrip("=")
            mixed_at_end = (before + len(value)) % 3 != 0
            yield encoded[(0, 2, 3)[before] : len(encoded) - mixed_at_end]


def _without_cut(text: str, forms: tuple[str, ...]) -> str:
    """The text without the beginning of a secret at its end, or the end of one at its beginning."""
    whole = text.rstrip("…")
    if len(whole) < SHORTEST:
        return text
    last, first = whole[-SHORTEST:], whole[:SHORTEST]
    for form in forms:
        if last in form and (size := _overlap(form, whole)):
            return whole[:-size] + HIDDEN + text[len(whole) :]
        if first in form and (size := _overlap(whole, form)):
            return HIDDEN + text[size:]
    return text


def _overlap(text: str, before: str) -> int:
    """How many characters at the beginning of `text` are the end of `before`; 0 if fewer than `SHORTEST`."""
    sizes = range(min(len(text), len(before)), SHORTEST - 1, -1)
    return next((size for size in sizes if before.endswith(text[:size])), 0)
