"""What a task says of a post, as WordPress takes it: pure functions.

https://developer.wordpress.org/rest-api/reference/posts/
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from everpost.publishing import InvalidError, Media

MARK = "everpost-"  # begins the slug of a draft; a published post has a slug of its own


class PostFields(msgspec.Struct, frozen=True):
    """The fields of a task that `wordpress` reads.

    Attributes:
        text: The post's content as HTML; without it, `description`.
        categories, tags: Names; those that the site does not have are made.
        sticky: Whether it stays on top.
    """

    title: str = ""
    text: str | None = None
    description: str | None = None
    excerpt: str | None = None
    slug: str | None = None
    categories: list[str] | None = None
    tags: list[str] | None = None
    sticky: bool | None = None


class Attachment(msgspec.Struct, frozen=True):
    """A file that the site has.

    Attributes:
        kind: image, video or another word that begins its content type.
    """

    id: int
    url: str
    kind: str
    alt: str = ""


def read_fields(data: Mapping[str, Any], files: Sequence[Media]) -> PostFields:
    """The fields of a task.

    Raises:
        InvalidError: A field has the wrong type, or the post would be empty.
    """
    try:
        fields = msgspec.convert(dict(data), PostFields)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise InvalidError(f"{path.rstrip('`')}: {message}.") from error
    if not (fields.title.strip() or (fields.text or fields.description or "").strip() or files):
        raise InvalidError("The task has neither a title nor a text nor a file.")
    return fields


def draft_of(fields: PostFields, key: str, attachments: Sequence[Attachment], terms: Mapping[str, list[int]]) -> bytes:
    """The body that makes the draft. Its slug marks it, so that it is found again.

    Args:
        terms: The ids of its categories and tags.
    """
    cover = next((attachment for attachment in attachments if attachment.kind == "image"), None)
    shown = [attachment for attachment in attachments if attachment is not cover]
    blocks = [fields.text if fields.text is not None else fields.description or "", *map(_block_of, shown)]
    body: dict[str, Any] = {
        "status": "draft",
        "slug": f"{MARK}{key}",
        "title": fields.title,
        "content": "\n\n".join(block for block in blocks if block),
        **terms,
    }
    if fields.excerpt is not None:
        body["excerpt"] = fields.excerpt
    if fields.sticky is not None:
        body["sticky"] = fields.sticky
    if cover is not None:
        body["featured_media"] = cover.id
    return msgspec.json.encode(body)


def publication_of(fields: PostFields) -> bytes:
    """The body that publishes the draft. Sending it again changes nothing."""
    # An empty slug makes WordPress derive one from the title.
    return msgspec.json.encode({"status": "publish", "slug": fields.slug or ""})


def _block_of(attachment: Attachment) -> str:
    """The file as a block of WordPress's editor."""
    from html import escape  # noqa: PLC0415 - its table of characters takes 0.3 MB, and most workers post none

    url, alt = escape(attachment.url), escape(attachment.alt)
    if attachment.kind == "image":
        inner = f'<img src="{url}" alt="{alt}" class="wp-image-{attachment.id}"/>'
    elif attachment.kind in {"video", "audio"}:
        inner = f'<{attachment.kind} controls src="{url}"></{attachment.kind}>'
    else:
        return f'<p><a href="{url}">{alt or url}</a></p>'
    kind = attachment.kind
    figure = f'<figure class="wp-block-{kind}">{inner}</figure>'
    return f'<!-- wp:{kind} {{"id":{attachment.id}}} -->{figure}<!-- /wp:{kind} -->'
