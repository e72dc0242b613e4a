"""The record of a post (lexicon app.bsky.feed.post), made from a task: pure functions."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from everpost.graphemes import count_graphemes
from everpost.publishing import InvalidError, Media
from everpost_workers.publishers.bluesky.facets import MOST_TAG_GRAPHEMES
from everpost_workers.publishers.bluesky.options import (
    MOST_ALT_BYTES,
    MOST_ALT_GRAPHEMES,
    MOST_GRAPHEMES,
    MOST_IMAGES,
    MOST_LANGUAGES,
    MOST_TAGS,
    MOST_TEXT_BYTES,
    BlueskyOptions,
)
from everpost_workers.publishers.wording import hashtag_words, is_encodable, post_text, with_hashtags, words_field

COLLECTION = "app.bsky.feed.post"
LABELS = frozenset({"!no-unauthenticated", "porn", "sexual", "nudity", "graphic-media"})
MOST_TAG_BYTES = 640

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*|[xi](?:-[A-Za-z0-9]{1,8})+")  # of BCP 47


class Content(msgspec.Struct, frozen=True):
    """What a task says, checked. `tags` are those that are not in the text.

    Attributes:
        alts: The descriptions of the files, in their order.
    """

    text: str
    tags: list[str]
    languages: list[str]
    labels: list[str]
    alts: list[str]


def read_content(data: Mapping[str, Any], files: Sequence[Media], options: BlueskyOptions) -> Content:
    """What a task says.

    Tags go into the text as hashtags if it stays short enough, else into the record's own list.

    Raises:
        InvalidError: The network would not accept the post.
    """
    _check_files(files, options)
    text, words = post_text(data), hashtag_words(data)
    tagged = with_hashtags(text, words)
    tags: list[str] = []
    if count_graphemes(tagged) > MOST_GRAPHEMES and words:
        tagged, tags = text, words
    _check_text(tagged, has_files=bool(files))
    return Content(
        text=tagged,
        tags=_checked_tags(tags),
        languages=_languages(data),
        labels=_labels(data),
        alts=[_alt(data, media, number) for number, media in enumerate(files)],
    )


def record_time(now_ms: int) -> str:
    """A time as records have it."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make_record(
    content: Content, facets: list[dict[str, Any]], embed: Mapping[str, Any] | None, created_at: str
) -> dict[str, Any]:
    """The record. The same task must get the same record again: keep it."""
    record: dict[str, Any] = {"$type": COLLECTION, "text": content.text, "createdAt": created_at}
    if facets:
        record["facets"] = facets
    if content.languages:
        record["langs"] = content.languages
    if content.tags:
        record["tags"] = content.tags
    if content.labels:
        values = [{"val": label} for label in content.labels]
        record["labels"] = {"$type": "com.atproto.label.defs#selfLabels", "values": values}
    if embed is not None:
        record["embed"] = dict(embed)
    return record


def make_embed(files: Sequence[Media], alts: Sequence[str], blobs: Sequence[Any]) -> dict[str, Any] | None:
    """The images, or the video, with their descriptions; None without files."""
    if not files:
        return None
    if is_video(files[0]):
        embed: dict[str, Any] = {"$type": "app.bsky.embed.video", "video": blobs[0], **_aspect_ratio(files[0])}
        return embed | ({"alt": alts[0]} if alts[0] else {})
    images = [
        {"image": blob, "alt": alt, **_aspect_ratio(media)} for media, alt, blob in zip(files, alts, blobs, strict=True)
    ]
    return {"$type": "app.bsky.embed.images", "images": images}


def digest_of(content: Content, files: Sequence[Media]) -> str:
    """A digest of what the post says; another digest means that the task was changed since."""
    named = [[media.filename, media.size_bytes, media.sha256] for media in files]
    return hashlib.sha256(msgspec.json.encode([content, named])).hexdigest()[:32]


def is_video(media: Media) -> bool:
    """Whether the network takes the file as a video."""
    return media.content_type.startswith("video/")


def _check_files(files: Sequence[Media], options: BlueskyOptions) -> None:
    videos = sum(is_video(media) for media in files)
    if videos > 1 or (videos and len(files) > 1):
        raise InvalidError("Bluesky takes one video, or up to four images, not both.")
    if len(files) > MOST_IMAGES:
        raise InvalidError(f"Bluesky takes at most {MOST_IMAGES} images; these are {len(files)}.")
    for media in files:
        most_bytes = options.most_video_bytes if is_video(media) else options.most_image_bytes
        if is_video(media):
            if media.content_type != "video/mp4":
                raise InvalidError(f"Bluesky takes videos as MP4; this is {media.content_type}.")
        elif not media.content_type.startswith("image/"):
            raise InvalidError(f"Bluesky takes images and videos; this is {media.content_type}.")
        if media.size_bytes > most_bytes:
            kind = "video" if is_video(media) else "image"
            raise InvalidError(f"Bluesky takes a {kind} of {most_bytes:,} bytes; this one has {media.size_bytes:,}.")
        if not media.size_bytes:
            raise InvalidError("The file is empty.")


def _check_text(text: str, *, has_files: bool) -> None:
    if not text and not has_files:
        raise InvalidError("The post has neither text nor media.")
    length, size_bytes = count_graphemes(text), len(text.encode())
    if length > MOST_GRAPHEMES:
        raise InvalidError(f"Bluesky takes {MOST_GRAPHEMES} characters (graphemes); the text has {length}.")
    if size_bytes > MOST_TEXT_BYTES:
        raise InvalidError(f"Bluesky takes {MOST_TEXT_BYTES:,} bytes of text; this one has {size_bytes:,}.")


def _checked_tags(tags: list[str]) -> list[str]:
    if len(tags) > MOST_TAGS:
        raise InvalidError(f"Bluesky takes {MOST_TAGS} tags beside the text; these are {len(tags)}.")
    for tag in tags:
        if count_graphemes(tag) > MOST_TAG_GRAPHEMES or len(tag.encode()) > MOST_TAG_BYTES:
            raise InvalidError(f"Bluesky takes tags of {MOST_TAG_GRAPHEMES} characters; {tag[:80]!r} is longer.")
    return tags


def _languages(data: Mapping[str, Any]) -> list[str]:
    languages = words_field(data, "languages", "langs", "language")
    if len(languages) > MOST_LANGUAGES:
        raise InvalidError(f"Bluesky takes {MOST_LANGUAGES} languages; these are {len(languages)}.")
    for language in languages:
        if not _LANGUAGE.fullmatch(language):
            raise InvalidError(f"{language[:40]!r} is not a language tag such as en or zh-Hans.")
    return languages


def _labels(data: Mapping[str, Any]) -> list[str]:
    labels = words_field(data, "labels")
    for label in labels:
        if label not in LABELS:
            raise InvalidError(f"{label[:40]!r} is not a label; these are: {', '.join(sorted(LABELS))}.")
    return labels


def _alt(data: Mapping[str, Any], media: Media, number: int) -> str:
    given = data.get("alt") if number == 0 and media.alt is None else media.alt
    if given is None:
        return ""
    if not isinstance(given, str) or not is_encodable(given):
        raise InvalidError("alt must be text.")
    if len(given.encode()) > MOST_ALT_BYTES or (is_video(media) and count_graphemes(given) > MOST_ALT_GRAPHEMES):
        raise InvalidError("The description of the file (alt) is too long for Bluesky.")
    return given


def _aspect_ratio(media: Media) -> dict[str, Any]:
    width, height = media.facts.width, media.facts.height
    return {"aspectRatio": {"width": width, "height": height}} if width and height else {}
