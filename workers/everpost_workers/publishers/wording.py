"""The text of a post, made from a task's fields: pure functions."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from everpost.publishing import InvalidError

HASHES = "#\uff03"  # the second as it is typed between Chinese characters

_HASHTAG_BREAKS = re.compile(rf"[\s{HASHES}]+")
_HASHTAG = re.compile(rf"[{HASHES}](\w+)")


def post_text(data: Mapping[str, Any]) -> str:
    """The field `text` if it is given; otherwise the title and the description, with a blank line between.

    Raises:
        InvalidError: A field is not text.
    """
    if text := text_field(data, "text"):
        return text
    return "\n\n".join(part for name in ("title", "description") if (part := text_field(data, name)))


def text_field(data: Mapping[str, Any], name: str) -> str:
    """A field's text without white space around it; empty if the task does not have it.

    Raises:
        InvalidError: It is not text, or has characters that cannot be sent.
    """
    value = data.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidError(f"{name} must be text.")
    if "\0" in value or not is_encodable(value):
        raise InvalidError(f"{name} has characters that cannot be sent.")
    return value.strip()


def flag_field(data: Mapping[str, Any], name: str) -> bool | None:
    """A field's true or false; None if the task does not have it.

    Raises:
        InvalidError: It is something else.
    """
    value = data.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise InvalidError(f"{name} must be true or false.")


def words_field(data: Mapping[str, Any], *names: str) -> list[str]:
    """The texts of the first of these fields that the task has: a list of texts, or one text.

    Raises:
        InvalidError: It is something else.
    """
    for name in names:
        value = data.get(name)
        if value is None or value == "":
            continue
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or not all(isinstance(word, str) and is_encodable(word) for word in words):
            raise InvalidError(f"{name} must be a list of texts.")
        return [word.strip() for word in words if word.strip()]
    return []


def hashtag_words(data: Mapping[str, Any]) -> list[str]:
    """The task's tags as hashtags can have them: without #, without white space, each once."""
    words = (_HASHTAG_BREAKS.sub("", word) for word in words_field(data, "tags"))
    return list(dict.fromkeys(word for word in words if word))


def with_hashtags(text: str, words: Sequence[str]) -> str:
    """The text, and on a line of their own the hashtags that it does not have yet."""
    present = {word.casefold() for word in _HASHTAG.findall(text)}
    missing = " ".join(f"#{word}" for word in words if word.casefold() not in present)
    return "\n\n".join(part for part in (text, missing) if part)


def is_encodable(text: str) -> bool:
    """Whether the text has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
