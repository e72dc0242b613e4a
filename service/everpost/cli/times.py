"""Times relative to now, for people."""

from datetime import UTC, datetime

SECOND_MS = 1_000
MINUTE_MS, HOUR_MS, DAY_MS = 60 * SECOND_MS, 3_600 * SECOND_MS, 86_400 * SECOND_MS
OLDEST_MS = 100 * DAY_MS  # older times are shown as dates


def relative_time(text: str | None, now_ms: int) -> str:
    """`5 min ago` or `in 3 h` for a time of the API. A distant time becomes a date; any other text stays unchanged."""
    if not text:
        return ""
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return text
    if then.tzinfo is None:
        return text
    return _relative(round(then.timestamp() * 1000), now_ms, f"{then.astimezone(UTC):%Y-%m-%d}")


def _relative(then_ms: int, now_ms: int, date: str) -> str:
    distance_ms = abs(now_ms - then_ms)
    if distance_ms >= OLDEST_MS:
        return date
    if distance_ms < SECOND_MS:
        return "now"
    for unit_ms, unit in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min"), (SECOND_MS, "s")):
        if distance_ms >= unit_ms:
            amount = f"{distance_ms // unit_ms} {unit}"
            break
    return f"in {amount}" if then_ms > now_ms else f"{amount} ago"
