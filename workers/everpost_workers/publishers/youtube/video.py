"""What a task says of a video: the resource for `videos.insert`, checked as YouTube's reference defines it.

https://developers.google.com/youtube/v3/docs/videos#properties
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from everpost.publishing import InvalidError, Media, PublishJob
from everpost_workers.publishers.youtube.options import Privacy, YouTubeOptions

LONGEST_TITLE = 100  # characters
LONGEST_DESCRIPTION = 5_000  # bytes
LONGEST_TAGS = 500  # characters, with a comma between tags, and quotes around tags that have spaces
THUMBNAIL_TYPES = frozenset({"image/jpeg", "image/png"})


class VideoFields(msgspec.Struct, frozen=True):
    """The fields of a task that `youtube` reads."""

    title: str = ""
    description: str | None = None
    tags: list[str] | str | None = None
    privacy: Privacy | None = None
    category: str | int | None = None
    made_for_kids: bool | None = None
    notify_subscribers: bool | None = None
    playlist: str | None = None
    language: str | None = None


class Video(msgspec.Struct, frozen=True, kw_only=True):
    """A video to upload.

    Attributes:
        resource: The body of `videos.insert`.
        notify_subscribers: Its parameter of that name.
        playlist: The id of the playlist it goes into.
    """

    file: Media
    thumbnail: Media | None
    resource: dict[str, Any]
    notify_subscribers: bool
    playlist: str | None


def read_video(job: PublishJob, options: YouTubeOptions) -> Video:
    """The video of a task.

    Raises:
        InvalidError: YouTube would refuse it; the message names the field.
    """
    fields = _read_fields(job.data)
    file, thumbnail = _read_files(job)
    snippet: dict[str, Any] = {
        "title": _checked("title", fields.title),
        "description": _checked("description", fields.description or ""),
        "categoryId": str(options.category if fields.category is None else fields.category),
    }
    if not 0 < len(snippet["title"]) <= LONGEST_TITLE:
        raise InvalidError(f"title: YouTube takes 1 to {LONGEST_TITLE} characters.")
    if len(snippet["description"].encode()) > LONGEST_DESCRIPTION:
        raise InvalidError(f"description: YouTube takes at most {LONGEST_DESCRIPTION:,} bytes.")
    if tags := _read_tags(fields.tags):
        snippet["tags"] = tags
    if fields.language:
        snippet["defaultLanguage"] = fields.language
    for_kids = options.made_for_kids if fields.made_for_kids is None else fields.made_for_kids
    notify = options.notify_subscribers if fields.notify_subscribers is None else fields.notify_subscribers
    status = {"privacyStatus": fields.privacy or options.privacy, "selfDeclaredMadeForKids": for_kids}
    return Video(
        file=file,
        thumbnail=thumbnail,
        resource={"snippet": snippet, "status": status},
        notify_subscribers=notify,
        playlist=fields.playlist or options.playlist,
    )


def _read_fields(data: Mapping[str, Any]) -> VideoFields:
    try:
        return msgspec.convert(dict(data), VideoFields)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise InvalidError(f"{path.rstrip('`')}: {message}.") from error


def _read_files(job: PublishJob) -> tuple[Media, Media | None]:
    """The video and, if the task names two files, its thumbnail."""
    videos = [media for media in job.files if not media.content_type.startswith("image/")]
    images = [media for media in job.files if media.content_type.startswith("image/")]
    if len(videos) != 1 or len(images) > 1:
        raise InvalidError("YouTube takes one video, and at most one image for its thumbnail.")
    if images and images[0].content_type not in THUMBNAIL_TYPES:
        raise InvalidError("A thumbnail must be a JPEG or PNG image.")
    if videos[0].size_bytes == 0:
        raise InvalidError("The video is empty.")
    return videos[0], images[0] if images else None


def _checked(field: str, text: str) -> str:
    if "<" in text or ">" in text:
        raise InvalidError(f"{field}: YouTube takes no < and no >.")
    return text


def _read_tags(tags: list[str] | str | None) -> list[str]:
    given = tags.split(",") if isinstance(tags, str) else tags or []
    cleaned = [_checked("tags", tag.strip().lstrip("#")) for tag in given]
    kept = [tag for tag in cleaned if tag]
    # "the quotation marks count toward the character limit", and so do the commas between tags.
    size = sum(len(tag) + 2 * (" " in tag) for tag in kept) + max(0, len(kept) - 1)
    if size > LONGEST_TAGS:
        raise InvalidError(f"tags: YouTube takes {LONGEST_TAGS} characters in all; these count as {size}.")
    return kept
