"""The cause of a failure: its error without what differs from task to task, so that equal failures group. Pure."""

import hashlib
import re

import msgspec

READ = 2_000  # characters of an error that are looked at
KEPT = 200  # characters of a cause

_VARYING = re.compile(
    r"""
    (?P<url>\b[a-z][a-z0-9+.-]{1,15}://[^\s"'<>]+)
    | (?P<email>\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+)
    | (?P<quoted>"[^"\n]{0,500}" | '(?<!\w')[^'\n]{0,500}'(?!\w) | `[^`\n]{0,500}`
        | “[^”\n]{0,500}” | 「[^」\n]{0,500}」)
    | (?P<path>(?<![\w/])(?:/[\w.%+-]+){2,})
    | (?P<status>\b[45]\d\d\b(?![.,:]?\d)
        (?!\s?(?:s|ms|kb|mb|gb|bytes?|characters?|seconds?|minutes?|times?|tasks?|posts?|px|%)\b))
    | (?P<word>\b\w*\d[\w-]*(?:[.:,]\d[\w-]*)*)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_IN_PLACE = {"url": "URL", "email": "EMAIL", "quoted": '"…"', "path": "PATH"}
_NUMBER = re.compile(r"[\d.,:_-]+[a-z]{0,2}", re.IGNORECASE)


class Cause(msgspec.Struct, frozen=True):
    """Why tasks failed.

    Attributes:
        id: 12 hexadecimal digits, the same for equal errors in every process and version.
        text: The error with `URL`, `EMAIL`, `PATH`, `ID`, `N` and `"…"` in place of what differs; HTTP's codes of
            errors stay.
    """

    id: str
    text: str


def cause_of(error_class: str | None, error: str | None) -> Cause:
    """The cause of a failed task. Errors of different classes have different causes."""
    text = " ".join(_VARYING.sub(_stand_in, (error or "")[:READ]).split())[:KEPT]
    digest = hashlib.sha256(f"{error_class or ''}\n{text}".encode(errors="replace"))
    return Cause(digest.hexdigest()[:12], text)


def _stand_in(found: re.Match[str]) -> str:
    kind = found.lastgroup
    if kind == "status":
        return found[0]
    if kind == "word":
        return "N" if _NUMBER.fullmatch(found[0]) else "ID"
    return _IN_PLACE[str(kind)]
