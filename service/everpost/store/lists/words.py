"""Cuts text into words, in the same way for the index, for queries, and for rows that are compared one by one."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec

from everpost.errors import InvalidValue
from everpost.redaction import USUALLY, Redactor

MAX_QUERY_CHARACTERS = 200
LEAST_BEGINNING = 3  # letters that a word needs to find longer ones; a single letter would find too many
MAX_TEXT_CHARACTERS = 20_000  # of one task; the rest is not searched
MAX_DATA_BYTES = 65_536  # of one task's data that are read for these characters

_IDEOGRAPHS = "\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_ODD = "\u2190-\u2bff\U0001f000-\U0001faff\U00020000-\U0003ffff"
"""Symbols, emoji and rare ideographs: FTS5's tokenizer (Unicode 6.1) takes them for spaces, so they are spelled out."""

_WORD = re.compile(f"[{_IDEOGRAPHS}{_ODD}]|[^\\W_{_IDEOGRAPHS}{_ODD}]+")
_ASCII_WORD = re.compile("[a-z0-9]+")
_IS_ODD = re.compile(f"[{_ODD}]")
_ACCENTED = re.compile("[\u00c0-\u024f\u0370-\u052f\u1e00-\u1fff]")
_TOKEN = re.compile(rb'"((?:[^"\\]++|\\.)*+)"?(\s*+:)?|-?[0-9][0-9.eE+-]*+|[\[\]{}]', re.DOTALL)
"""A text, number or bracket in JSON. A text before a colon is the name of a member. The last text may be cut off."""

_PLAIN = re.compile(
    "[\x00-\x7f\u4e00-\u9fff\u2014\u2018-\u201d\u2026\u3001\u3002\u3008-\u3011\uff01-\uff0f\uff1a-\uff20]*+"
)
"""ASCII, the usual Chinese characters, and Chinese punctuation: only the case of such text changes when it is cut."""

_HAS_DIGIT = re.compile(r"\d")
_ENDS_IN_LETTERS = re.compile(f"[^\\W_{_IDEOGRAPHS}{_ODD}]\\Z")


def words_of(text: str) -> list[str]:
    """The words of a text, without case, width or accents. A Chinese, Japanese or Korean character is a word."""
    if text.isascii():  # then, all below comes to this
        return _ASCII_WORD.findall(text.lower())
    text = unicodedata.normalize("NFKC", text).casefold()
    if _ACCENTED.search(text):
        text = _ACCENTED.sub(lambda found: unicodedata.normalize("NFD", found[0])[0], text)
    words = _WORD.findall(text)
    if _IS_ODD.search(text):
        words = [f"x{ord(word):x}x" if _IS_ODD.match(word) else word for word in words]
    return words


def cut(*texts: str | None) -> str:
    """Texts as the index keeps them: words with a space between."""
    joined = "\n".join(filter(None, texts))[:MAX_TEXT_CHARACTERS]
    return " ".join(words_of(joined))


def texts_in(task_data: str | bytes | None, redactor: Redactor = USUALLY) -> str:
    """The texts and numbers in a task's JSON, at any depth, as many as are searched. If it is not JSON, all of it.

    What the redactor hides is left out, so that no search finds it. Data that may be cut off at `MAX_DATA_BYTES` is not
    checked to be JSON.
    """
    if not task_data:
        return ""
    data = task_data.encode() if isinstance(task_data, str) else task_data
    if len(data) >= MAX_DATA_BYTES and data.lstrip()[:1] in {b"{", b"["}:
        return _joined(_texts_of_head(data[:MAX_DATA_BYTES], redactor))
    try:
        value = msgspec.json.decode(redactor.hide_json(data) if redactor.has_paths else data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return "" if redactor.may_name(data) else data.decode(errors="replace")
    return _joined(_texts(value, redactor))


def _joined(texts: Iterator[str]) -> str:
    """The first texts, until there are as many characters as are searched."""
    taken: list[str] = []
    left = MAX_TEXT_CHARACTERS
    for text in texts:
        taken.append(text)
        left -= len(text) + 1
        if left <= 0:
            break
    return "\n".join(taken)


def _texts(value: Any, redactor: Redactor) -> Iterator[str]:
    hides = redactor.hides
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield redactor.hide_text(value) if "=" in value else value
        elif isinstance(value, dict):
            pending.extend([inner for name, inner in reversed(value.items()) if not hides(name)])
        elif isinstance(value, list):
            pending.extend(reversed(value))
        elif value is not None and not isinstance(value, bool):
            yield str(value)


def _texts_of_head(head: bytes, redactor: Redactor = USUALLY) -> Iterator[str]:
    may_hide = redactor.may_name(head)
    depth: int | None = None  # of brackets in a hidden value; None outside of one
    for token in _TOKEN.finditer(head):
        text, is_name = token.groups()
        is_bracket = token[0] in _BRACKETS
        if depth is not None:
            depth = _depth_after(depth, token[0])
            if depth is not None or not is_name:
                continue
        if is_name:
            depth = 0 if may_hide and redactor.hides_somewhere(_unescaped(text)) else None
        elif text is not None:
            yield _unescaped(text)
        elif not is_bracket:
            yield token[0].decode()


_BRACKETS = frozenset({b"[", b"]", b"{", b"}"})


def _depth_after(depth: int, token: bytes) -> int | None:
    """How deep a hidden value is after its next token; None if it has ended."""
    if token in {b"[", b"{"}:
        return depth + 1
    if token in {b"]", b"}"}:
        return depth - 1 if depth > 1 else None
    if depth:
        return depth
    return None  # its only token; or the next name, if it is a word such as null


def _unescaped(text: bytes) -> str:
    if b"\\" in text:
        try:
            return msgspec.json.decode(b'"%s"' % text, type=str)
        except (msgspec.DecodeError, UnicodeError):
            pass  # cut off in the middle of an escape or a character
    return text.decode(errors="replace")


class Query(msgspec.Struct, frozen=True):
    """A person's query: every phrase must occur. If `open_ended`, the last word may be the beginning of one.

    A person types terms with spaces between them; each is a phrase of its words. They have no syntax. What the redactor
    hides is not found.
    """

    phrases: tuple[tuple[str, ...], ...]
    open_ended: bool
    redactor: Redactor = USUALLY

    def may_match(self, raw: bytes) -> bool:
        """False only if no text in the bytes can match, JSON or not. It saves cutting most of them into words.

        Plain text contains the words themselves, except for case and for numbers, which JSON writes in several ways.
        """
        if b"\\u" in raw:
            return True
        text = raw.decode(errors="replace")
        if not _PLAIN.fullmatch(text):
            return True
        text = text.lower()
        return all(word in text or _HAS_DIGIT.search(word) for phrase in self.phrases for word in phrase)

    def matches(self, words: str) -> bool:
        """Whether a text, cut into words, is found."""
        text = f" {words} "
        closed, last = self.phrases[:-1], self.phrases[-1:]
        ending = "" if self.open_ended else " "
        return (
            bool(last)
            and all(f" {' '.join(phrase)} " in text for phrase in closed)
            and f" {' '.join(last[0])}{ending}" in text
        )


def read_query(text: str, redactor: Redactor = USUALLY) -> Query:
    """The query a person typed. One without any word, such as `++`, finds nothing.

    Raises:
        InvalidValue: It is longer than `MAX_QUERY_CHARACTERS`.
    """
    if len(text) > MAX_QUERY_CHARACTERS:
        raise InvalidValue(f"A search takes at most {MAX_QUERY_CHARACTERS} characters.", "$.q")
    terms = text.split()
    phrases = tuple(tuple(words) for term in terms if (words := words_of(term)))
    ends_in_word = bool(phrases) and bool(_ENDS_IN_LETTERS.search(unicodedata.normalize("NFKC", terms[-1])))
    open_ended = ends_in_word and len(phrases[-1][-1]) >= LEAST_BEGINNING
    return Query(phrases, open_ended=open_ended, redactor=redactor)
