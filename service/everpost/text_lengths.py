"""Lengths of texts as platforms count them. Pure functions."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

from everpost.graphemes import count_graphemes

URL = re.compile(r"https?://[^\s\u3000-\u303f\uff00-\uffef]+", re.IGNORECASE)
MENTION = re.compile(r"(?<![\w/])@([A-Za-z0-9_]+)@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")
URL_LENGTH = 23  # of any link, on Mastodon and X
LIGHT = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))  # code points of weight 1 on X, others have 2


class Counting(StrEnum):
    """How a platform counts."""

    CHARACTERS = "characters"  # Unicode code points
    GRAPHEMES = "graphemes"  # what people see as one character (UAX 29): Bluesky
    UTF16 = "utf16"  # units of UTF-16, as in JavaScript: TikTok
    BYTES = "bytes"  # of UTF-8: descriptions on YouTube
    MASTODON = "mastodon"  # graphemes; a link has 23, and a mention counts without its host
    WEIGHTED = "weighted"  # X: a link has 23, an emoji 2, and a Chinese character 2
    HALVES = "halves"  # half-width characters count half, rounded up: titles on Xiaohongshu


def length_of(text: str, counting: Counting = Counting.CHARACTERS) -> int:
    """The length of a text, counted in a certain way."""
    return _COUNTERS[counting](text)


def total_of_tags(tags: Sequence[str]) -> int:
    """The length of all tags as YouTube counts it: with commas between them, and quotes around those with a space.

    https://developers.google.com/youtube/v3/docs/videos, snippet.tags[]
    """
    return sum(len(tag) + (2 if " " in tag else 0) for tag in tags) + max(0, len(tags) - 1)


def _utf16(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _mastodon(text: str) -> int:
    """https://docs.joinmastodon.org/user/posting/#text."""
    shortened = MENTION.sub(r"@\1", URL.sub("x" * URL_LENGTH, text))
    return count_graphemes(shortened)


def _weighted(text: str) -> int:
    """https://docs.x.com/resources/fundamentals/counting-characters."""
    links = len(URL.findall(text))
    left = URL.sub("", unicodedata.normalize("NFC", text))
    if left.isascii():
        return links * URL_LENGTH + len(left)
    import regex  # noqa: PLC0415 - as in graphemes.py

    return links * URL_LENGTH + sum(_weight(each[0]) for each in regex.finditer(r"\X", left))


def _weight(cluster: str) -> int:
    """An emoji has the weight 2, however many code points it has."""
    if len(cluster) > 1 and ("\u200d" in cluster or "\ufe0f" in cluster or ord(cluster[0]) >= 0x1F000):  # noqa: PLR2004 - emoji
        return 2
    return sum(1 if any(first <= ord(each) <= last for first, last in LIGHT) else 2 for each in cluster)


def _halves(text: str) -> int:
    return (sum(2 if unicodedata.east_asian_width(each) in {"W", "F", "A"} else 1 for each in text) + 1) // 2


_COUNTERS: Mapping[Counting, Callable[[str], int]] = MappingProxyType(
    {
        Counting.CHARACTERS: len,
        Counting.GRAPHEMES: count_graphemes,
        Counting.UTF16: _utf16,
        Counting.BYTES: _bytes,
        Counting.MASTODON: _mastodon,
        Counting.WEIGHTED: _weighted,
        Counting.HALVES: _halves,
    }
)
