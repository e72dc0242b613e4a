"""What the attempts of a task keep for the next one: a checkpoint."""

from typing import Any

import msgspec


class Kept(msgspec.Struct):
    """The checkpoint of a post.

    Attributes:
        digest: Of what the post says. If the task was changed since, only `created_at` is used again.
        did: The account's repository.
        created_at: The time in the record, the same for every attempt.
        blobs: References to the files that are uploaded, in their order.
        video_job: The job of the video service.
        record: The record, once it may have been sent.
        was_sent: A record may have been sent, of this or another digest.
    """

    digest: str
    did: str
    created_at: str
    blobs: list[Any] = []
    video_job: str | None = None
    record: dict[str, Any] | None = None
    was_sent: bool = False


def read_kept(saved: Any, digest: str, did: str, created_at: str) -> Kept:
    """The checkpoint of the earlier attempts; a new one if they saved none.

    Args:
        saved: The job's `saved`.
        created_at: The present time, for a new one.
    """
    try:
        kept = msgspec.convert(saved, Kept)
    except msgspec.ValidationError:
        return Kept(digest, did, created_at)
    if kept.did != did and not kept.was_sent:
        return Kept(digest, did, created_at)
    if kept.digest != digest:
        return Kept(digest, kept.did, kept.created_at, was_sent=kept.was_sent)
    return kept
