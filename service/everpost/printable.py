"""Makes text that others wrote safe to show: on a terminal, in a log line, in JSON that a person reads.

A title or an error message may hold escape sequences that write to the clipboard, characters that reverse the text
around them, line breaks that forge a line, and invisible characters. Each is replaced by its Python escape, so that it
has no effect and can be seen.
"""

import re

_UNPRINTABLE = (
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences, line breaks
    r"\u2028\u2029\ud800-\udfff"  # line and paragraph separators; lone surrogates, which no encoding takes
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls
    # Characters without width, by Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt, 17.0):
    r"\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0f"
    r"\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    r"\U00013430-\U0001345f"  # joins Egyptian hieroglyphs
)
_EMOJI = r"\xa9\xae\u203c\u2049\u2100-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"

_unprintable = re.compile(f"[{_UNPRINTABLE}]")
_emoji_glue = re.compile(f"(?<=[{_EMOJI}])(?:[\ufe0e\ufe0f]\u200d?|\u200d)|(?<=[0-9#*])\ufe0f(?=\u20e3)")


def printable(text: str) -> str:
    """The text in one line. Characters that control a terminal, reorder text or are invisible become escapes.

    Joiners within emoji are removed instead: posts are full of them, and terminals disagree about their width.
    """
    if text.isascii() and text.isprintable():
        return text
    return _unprintable.sub(_escape, _emoji_glue.sub("", text))


def printable_lines(text: str) -> str:
    """Like `printable`, but keeps line feeds: for texts whose lines Everpost made."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    """The same JSON document with these characters escaped in its strings; its line feeds stay."""
    return "\n".join(_unprintable.sub(_json_escape, line) for line in text.split("\n"))


def is_printable(text: str) -> bool:
    """Whether `printable` would leave the text as it is."""
    return printable(text) == text


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
