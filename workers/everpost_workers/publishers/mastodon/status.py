"""A status made from a task: pure functions (https://docs.joinmastodon.org/methods/statuses/#create)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from everpost.graphemes import count_graphemes
from everpost.publishing import InvalidError, Media
from everpost_workers.publishers.mastodon.limits import Limits
from everpost_workers.publishers.mastodon.options import VISIBILITIES
from everpost_workers.publishers.wording import (
    flag_field,
    hashtag_words,
    is_encodable,
    post_text,
    text_field,
    with_hashtags,
    words_field,
)

_ADDRESS = re.compile(r"https?://[^\s]+", re.IGNORECASE)
_REMOTE_MENTION = re.compile(r"(@[A-Za-z0-9_]+(?:[A-Za-z0-9_.-]*[A-Za-z0-9_]+)?)@[A-Za-z0-9.-]*[A-Za-z0-9]")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")


class Content(msgspec.Struct, frozen=True):
    """What a task says, checked.

    Attributes:
        alts: The descriptions of the files, in their order.
    """

    text: str
    spoiler_text: str
    visibility: str | None
    sensitive: bool | None
    language: str | None
    in_reply_to_id: str | None
    alts: list[str]

    def form(self, media_ids: Sequence[str]) -> list[tuple[str, str]]:
        """The form data of the request."""
        fields: list[tuple[str, str | None]] = [
            ("status", self.text),
            *(("media_ids[]", media_id) for media_id in media_ids),
            ("spoiler_text", self.spoiler_text or None),
            ("visibility", self.visibility),
            ("sensitive", None if self.sensitive is None else str(self.sensitive).lower()),
            ("language", self.language),
            ("in_reply_to_id", self.in_reply_to_id),
        ]
        return [(name, value) for name, value in fields if value is not None]


def read_content(data: Mapping[str, Any], files: Sequence[Media], limits: Limits) -> Content:
    """What a task says.

    Raises:
        InvalidError: The server would not accept the status.
    """
    content = Content(
        text=with_hashtags(post_text(data), hashtag_words(data)),
        spoiler_text=text_field(data, "spoiler_text"),
        visibility=_visibility(data),
        sensitive=flag_field(data, "sensitive"),
        language=_language(data),
        in_reply_to_id=text_field(data, "in_reply_to_id") or None,
        alts=[_alt(data, media, number, limits) for number, media in enumerate(files)],
    )
    if not content.text and not files:
        raise InvalidError("The post has neither text nor media.")
    length = count_length(content.text, limits) + count_graphemes(content.spoiler_text)
    if length > limits.max_characters:
        raise InvalidError(f"The server takes {limits.max_characters:,} characters; these are {length:,}.")
    if len(files) > limits.max_media_attachments:
        raise InvalidError(f"The server takes {limits.max_media_attachments} files; these are {len(files)}.")
    for media in files:
        _check_file(media, limits)
    return content


def count_length(text: str, limits: Limits) -> int:
    """The length as Mastodon counts: an address has a fixed length, a mention counts without the server's name."""
    reserved = "x" * limits.characters_reserved_per_url
    return count_graphemes(_REMOTE_MENTION.sub(r"\1", _ADDRESS.sub(reserved, text)))


def _check_file(media: Media, limits: Limits) -> None:
    if limits.supported_mime_types and media.content_type not in limits.supported_mime_types:
        raise InvalidError(f"The server does not take files of the type {media.content_type}.")
    is_image = media.content_type.startswith("image/")
    most_bytes = limits.image_size_limit if is_image else limits.video_size_limit
    if most_bytes is not None and media.size_bytes > most_bytes:
        raise InvalidError(f"The server takes a file of {most_bytes:,} bytes; this one has {media.size_bytes:,}.")
    if not media.size_bytes:
        raise InvalidError("The file is empty.")


def _visibility(data: Mapping[str, Any]) -> str | None:
    visibility = text_field(data, "visibility") or None
    if visibility is not None and visibility not in VISIBILITIES:
        raise InvalidError(f"visibility must be one of {', '.join(VISIBILITIES)}.")
    return visibility


def _language(data: Mapping[str, Any]) -> str | None:
    languages = words_field(data, "language", "languages", "langs")
    if not languages:
        return None
    if not _LANGUAGE.fullmatch(languages[0]):
        raise InvalidError(f"{languages[0][:40]!r} is not a language such as en or zh.")
    return languages[0]


def _alt(data: Mapping[str, Any], media: Media, number: int, limits: Limits) -> str:
    given = data.get("alt") if number == 0 and media.alt is None else media.alt
    if given is None:
        return ""
    if not isinstance(given, str) or not is_encodable(given):
        raise InvalidError("alt must be text.")
    if limits.description_limit is not None and count_graphemes(given) > limits.description_limit:
        raise InvalidError(f"The server takes descriptions (alt) of {limits.description_limit:,} characters.")
    return given
