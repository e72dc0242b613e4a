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


def size_text(size_bytes: int) -> str:
    """A size for people."""
    for limit, unit in ((GIB, "GiB"), (MIB, "MiB")):
        if size_bytes >= limit:
            return f"{size_bytes / limit:.1f} {unit}"
    return f"{size_bytes / 1024:.0f} KiB"
