"""Recognises a status that an earlier attempt made: pure functions.

The API keeps nothing of the client's with a status, so it is known by its time, its files and what it says.
"""

import hashlib
import html
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from everpost_workers.publishers.mastodon.status import Content

MARGIN_MS = 5_000  # a server's Date has whole seconds, and its processes may have different clocks

_BREAK = re.compile(r"<(?:br|/p|/div|/li)\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_SPACE = re.compile(r"\s+")
_SERVER_OF_MENTION = re.compile(r"(@[A-Za-z0-9_.-]+)@[A-Za-z0-9.-]*[A-Za-z0-9]")


class Kept(msgspec.Struct):
    """The checkpoint of a post.

    Attributes:
        digest: Of what the post says, and of its files.
        media_ids: The files that are uploaded, in their order.
        sent_at_ms: The server's time before a status was first sent; None if none was.
        last_sent_ms: This host's time when a status was sent last.
        sent_digests: Of what may have been sent: more than one if the task was changed meanwhile.
        sent_media_ids: The files that were sent.
        is_hidden: Something that was sent is not public, so that some servers do not list it.
    """

    digest: str
    media_ids: list[str] = []
    sent_at_ms: int | None = None
    last_sent_ms: int = 0
    sent_digests: list[str] = []
    sent_media_ids: list[str] = []
    is_hidden: bool = False


def read_kept(saved: Any, digest: str | None = None) -> Kept:
    """The checkpoint of the earlier attempts; a new one if they saved none.

    Args:
        saved: The job's `saved`.
        digest: What the post says now; files that were uploaded for another content are not used. None keeps all.
    """
    try:
        kept = msgspec.convert(saved, Kept)
    except msgspec.ValidationError:
        return Kept(digest or "")
    if digest is not None and kept.digest != digest:
        kept.digest, kept.media_ids = digest, []
    return kept


def sent_digest(text: str, spoiler_text: str, files: int) -> str:
    """A digest of a status that is the same for what was sent and for what the server shows.

    Mastodon makes the spoiler the text of a status without text.
    """
    words = _SPACE.sub("", _SERVER_OF_MENTION.sub(r"\1", spoiler_text + text))
    return hashlib.sha256(msgspec.json.encode([words, files])).hexdigest()[:32]


def digest_of(content: Content, files: Sequence[tuple[str, int, str | None]]) -> str:
    """A digest of everything the post has."""
    return hashlib.sha256(msgspec.json.encode([content, list(files)])).hexdigest()[:32]


def is_ours(status: dict[str, Any], kept: Kept, source: tuple[str, str] | None = None) -> bool:
    """Whether this is a status that an earlier attempt sent.

    Args:
        source: Its text and spoiler as they were sent, if the server tells; else its `text`, or its HTML, is read.
    """
    if status.get("reblog"):
        return False
    ids = _media_ids(status)
    if ids and set(ids) <= set(kept.sent_media_ids):
        return True
    text, spoiler_text = source or (_shown_text(status), str(status.get("spoiler_text") or ""))
    return sent_digest(text, spoiler_text, len(ids)) in kept.sent_digests


def _shown_text(status: dict[str, Any]) -> str:
    text = status.get("text")
    return text if isinstance(text, str) and text else text_of_html(str(status.get("content") or ""))


def _media_ids(status: dict[str, Any]) -> list[str]:
    found = status.get("media_attachments")
    return [str(item.get("id")) for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def text_of_html(content: str) -> str:
    """The text of a status's HTML. Mastodon hides parts of addresses with spans, which their text has whole."""
    return html.unescape(_TAG.sub("", _BREAK.sub("\n", content)))


def created_ms(status: dict[str, Any]) -> int | None:
    """When the server made the status; None if it does not say."""
    try:
        created = datetime.fromisoformat(str(status.get("created_at")))
    except ValueError:
        return None
    zoned = created if created.tzinfo is not None else created.replace(tzinfo=UTC)
    return round(zoned.timestamp() * 1000)
