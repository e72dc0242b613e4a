"""Times as pages show them: how long ago, and how long."""

from collections.abc import Sequence
from datetime import UTC

from everpost.api.console.languages import Texts
from everpost.clock import read_time

SECOND_MS = 1_000
UNITS: Sequence[tuple[str, int]] = (
    ("day", 86_400_000),
    ("hour", 3_600_000),
    ("minute", 60_000),
    ("second", SECOND_MS),
)


def ago(texts: Texts, text: str | None, now_ms: int) -> str:
    """How long ago a time was, or in how long it comes, in its largest unit; the text itself if it is not a time."""
    at_ms = _ms_of(text)
    if at_ms is None:
        return text or texts.text("time.never")
    distance_ms = now_ms - at_ms
    if abs(distance_ms) < SECOND_MS:
        return texts.text("time.now")
    return texts.text("time.ago" if distance_ms > 0 else "time.ahead", span=_span(texts, abs(distance_ms)))


def span_since(texts: Texts, text: str | None, now_ms: int) -> str:
    """How long it is since a time."""
    at_ms = _ms_of(text)
    return "" if at_ms is None else _span(texts, max(0, now_ms - at_ms))


def seconds(texts: Texts, value: float | None) -> str:
    """A duration in seconds, with as many digits as help."""
    if value is None:
        return "-"
    if value < 1:
        return texts.text("time.ms", n=round(value * 1000))
    if value < 10:  # noqa: PLR2004 - below, a tenth is seen
        return texts.text("time.s", n=f"{value:.1f}")
    return _span(texts, round(value * 1000))


def mark(texts: Texts, value: float) -> str:
    """A power of ten, in milliseconds or seconds."""
    return texts.text("time.ms", n=round(value * 1000)) if value < 1 else texts.text("time.s", n=round(value))


def _span(texts: Texts, span_ms: int) -> str:
    unit, length_ms = next(((unit, ms) for unit, ms in UNITS if span_ms >= ms), UNITS[-1])
    return texts.count(f"time.{unit}", span_ms // length_ms)


def _ms_of(text: str | None) -> int | None:
    try:
        return None if not text else read_time(text, UTC)
    except (ValueError, OverflowError):
        return None
