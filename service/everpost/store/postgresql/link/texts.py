"""Texts as PostgreSQL takes them. It cannot store the character NUL, which becomes U+FFFD; clients may not send it."""

import re
from typing import Any

import msgspec

_ESCAPE = re.compile(r"\\(?:u0000|.)", re.DOTALL)


def json_text(value: Any) -> str:
    """The value as JSON whose texts have no NUL. JSON inside of texts keeps its own escapes."""
    text = msgspec.json.encode(value).decode()
    return _ESCAPE.sub(_without_nul, text) if "\\u0000" in text else text


def plain_text(text: str | None) -> str | None:
    """The text without NUL."""
    return None if text is None else text.replace("\0", "\ufffd")


def storable(text: str) -> str:
    """A text that a client looks for, without what no stored text can have: NUL, and halves of surrogate pairs."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _without_nul(escape: re.Match[str]) -> str:
    return "\\ufffd" if escape[0] == "\\u0000" else escape[0]
