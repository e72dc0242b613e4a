"""The texts that a moment has in `created_at`, in Everpost's rows and in those of an original file."""

from datetime import UTC, datetime, tzinfo

from everpost.clock import FIRST_MS, LAST_MS, to_text

HOUR_MS = 3_600_000


def text_of(time_ms: int) -> str:
    """The text of a time, in the years that tasks can have."""
    return to_text(min(max(time_ms, FIRST_MS), LAST_MS))


def spellings_of(time_ms: int, zone: tzinfo) -> tuple[str, ...]:
    """The forms a time may have in Everpost's rows and in an original file's, to the minute."""
    time_ms = min(max(time_ms, FIRST_MS + 48 * HOUR_MS), LAST_MS - 48 * HOUR_MS)  # room for any zone's offset
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    local = moment.astimezone(zone)
    return f"{moment:%Y-%m-%dT%H:%M}", f"{local:%Y-%m-%d %H:%M}", f"{local:%Y-%m-%dT%H:%M}"
