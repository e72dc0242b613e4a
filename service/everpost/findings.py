"""The findings of `everpost doctor`: one fact a line, which is good, bad or only information."""

import msgspec

GIB = 1 << 30
MIB = 1 << 20


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fact.

    Attributes:
        ok: True is good, False is bad, None is only information.
        advice: What to do; empty if nothing has to be done.
    """

    about: str
    name: str
    value: str
    ok: bool | None = None
    advice: str = ""


NEAR_MS = 1_000  # clocks that differ by less count as equal
FAR_MS = 300_000  # clocks that differ by more are wrong, although tasks bear it


def clock_finding(about: str, ahead_ms: float, than: str) -> Finding:
    """How far a clock is ahead of another one."""
    if abs(ahead_ms) < NEAR_MS:
        return Finding(about, "clock", f"as {than}", ok=True)
    is_far = abs(ahead_ms) > FAR_MS
    return Finding(about, "clock", ahead_text(ahead_ms, than), False if is_far else None, "Set it by NTP.")


def ahead_text(ahead_ms: float, than: str) -> str:
    """The same in words, of clocks that are not equal."""
    return f"{abs(ahead_ms) / 1000:,.0f} s {'ahead of' if ahead_ms > 0 else 'behind'} {than}"


def size_text(size_bytes: int) -> str:
    """A size for people."""
    for limit, unit in ((GIB, "GiB"), (MIB, "MiB")):
        if size_bytes >= limit:
            return f"{size_bytes / limit:.1f} {unit}"
    return f"{size_bytes / 1024:.0f} KiB"
