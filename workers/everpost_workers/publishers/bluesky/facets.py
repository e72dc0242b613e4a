"""Links, mentions and tags in a post's text: pure functions.

A facet marks a part of the text by offsets into its UTF-8 bytes (https://docs.bsky.app/docs/advanced-guides/post-richtext).
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from everpost.graphemes import count_graphemes

MOST_TAG_GRAPHEMES = 64
LONGEST_HANDLE = 253
MOST_MENTIONS = 20  # each is a request

FULL_HASH, FULL_OPEN, FULL_CLOSE = "\uff03", "\uff08", "\uff09"  # as they are typed between Chinese characters
SENTENCE_ENDS = ".,;:!?'\"\u3002\uff0c\u3001\uff1b\uff1a\uff01\uff1f\u2026\u201d\u2019\u00bb"

_LINK = re.compile(rf"(?:^|(?<=[\s({FULL_OPEN}]))https?://[^\s]+", re.IGNORECASE)
_MENTION = re.compile(rf"(?:^|(?<=[\s({FULL_OPEN}]))@([a-zA-Z0-9][a-zA-Z0-9.-]*)")
_TAG = re.compile(rf"(?:^|(?<=\s))[#{FULL_HASH}]([^\s\u00ad\u2060\u200a-\u200d\u20e2]+)")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HANDLE = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")  # https://atproto.com/specs/handle
_CLOSING = {")": "(", FULL_CLOSE: FULL_OPEN, "]": "["}
_KEYCAP = "\ufe0f"


class Kind(StrEnum):
    """What a part of the text is."""

    LINK = "link"
    MENTION = "mention"
    TAG = "tag"


class Span(msgspec.Struct, frozen=True):
    """A part of the text, by the positions of its characters; `value` is the address, the handle or the tag."""

    kind: Kind
    start: int
    end: int
    value: str


def find_spans(text: str) -> list[Span]:
    """The links, mentions and tags of a text, in order; they do not overlap."""
    spans = sorted([*_links(text), *_mentions(text), *_tags(text)], key=lambda span: span.start)
    kept: list[Span] = []
    for span in spans:
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def make_facets(text: str, spans: list[Span], dids: Mapping[str, str]) -> list[dict[str, Any]]:
    """The facets of these parts; a mention whose handle has no DID stays plain text."""
    facets: list[dict[str, Any]] = []
    position = offset = 0
    for span in spans:
        if (feature := _feature(span, dids)) is None:
            continue
        start = offset + len(text[position : span.start].encode())
        end = start + len(text[span.start : span.end].encode())
        position, offset = span.end, end
        facets.append({"index": {"byteStart": start, "byteEnd": end}, "features": [feature]})
    return facets


def handles_in(spans: list[Span]) -> list[str]:
    """The handles that are mentioned, each once; no more than `MOST_MENTIONS`."""
    return list(dict.fromkeys(span.value for span in spans if span.kind is Kind.MENTION))[:MOST_MENTIONS]


def _feature(span: Span, dids: Mapping[str, str]) -> dict[str, Any] | None:
    match span.kind:
        case Kind.LINK:
            return {"$type": "app.bsky.richtext.facet#link", "uri": span.value}
        case Kind.TAG:
            return {"$type": "app.bsky.richtext.facet#tag", "tag": span.value}
    did = dids.get(span.value)
    return None if did is None else {"$type": "app.bsky.richtext.facet#mention", "did": did}


def _links(text: str) -> Iterator[Span]:
    for found in _LINK.finditer(text):
        address = _without_sentence_end(found[0])
        if len(address) > len("https://"):
            yield Span(Kind.LINK, found.start(), found.start() + len(address), address)


def _without_sentence_end(address: str) -> str:
    """The address without punctuation that belongs to the sentence around it; a closed bracket of its own stays."""
    while address:
        last = address[-1]
        if last in _CLOSING:
            if address.count(last) <= address.count(_CLOSING[last]):
                break
        elif last not in SENTENCE_ENDS:
            break
        address = address[:-1]
    return address


def _mentions(text: str) -> Iterator[Span]:
    for found in _MENTION.finditer(text):
        handle = found[1].rstrip(".-").lower()
        if len(handle) <= LONGEST_HANDLE and _HANDLE.fullmatch(handle):
            yield Span(Kind.MENTION, found.start(), found.start() + 1 + len(handle), handle)


def _tags(text: str) -> Iterator[Span]:
    for found in _TAG.finditer(text):
        tag = found[1]
        while tag and unicodedata.category(tag[-1]).startswith("P"):
            tag = tag[:-1]
        has_letter = any(not character.isdigit() and not _is_punctuation(character) for character in tag)
        if has_letter and not tag.startswith(_KEYCAP) and count_graphemes(tag) <= MOST_TAG_GRAPHEMES:
            yield Span(Kind.TAG, found.start(), found.start() + 1 + len(tag), tag)


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P")
