"""What a server takes: the configuration in its description (https://docs.joinmastodon.org/entities/Instance/)."""

from typing import Any

import msgspec

MOST_CHARACTERS = 500
URL_CHARACTERS = 23
MOST_FILES = 4


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits, with Mastodon's own as defaults; None is not known.

    Attributes:
        supported_mime_types: Empty if the server does not say.
        description_limit: Characters of a file's description.
    """

    max_characters: int = MOST_CHARACTERS
    characters_reserved_per_url: int = URL_CHARACTERS
    max_media_attachments: int = MOST_FILES
    supported_mime_types: frozenset[str] = frozenset()
    image_size_limit: int | None = None
    video_size_limit: int | None = None
    description_limit: int | None = None


def read_limits(instance: dict[str, Any]) -> Limits:
    """The limits in the answer of `GET /api/v2/instance` or `/api/v1/instance`; what is odd there is left out."""
    configuration = _object(instance, "configuration")
    statuses, media = _object(configuration, "statuses"), _object(configuration, "media_attachments")
    numbers = {
        "max_characters": _number(statuses, "max_characters") or _number(instance, "max_toot_chars"),
        "characters_reserved_per_url": _number(statuses, "characters_reserved_per_url"),
        "max_media_attachments": _number(statuses, "max_media_attachments"),
        "image_size_limit": _number(media, "image_size_limit"),
        "video_size_limit": _number(media, "video_size_limit"),
        "description_limit": _number(media, "description_limit"),
    }
    types = media.get("supported_mime_types")
    named = frozenset(name for name in types if isinstance(name, str)) if isinstance(types, list) else frozenset()
    given = {name: number for name, number in numbers.items() if number is not None}
    return Limits(supported_mime_types=named, **given)


def _object(value: dict[str, Any], name: str) -> dict[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def _number(value: dict[str, Any], name: str) -> int | None:
    number = value.get(name)
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None
