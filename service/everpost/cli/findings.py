"""The findings of `everpost doctor`: one fact a line, which is good, bad or only information."""

import msgspec

from everpost.settings import SECRET, Settings

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


def settings_as_read(settings: Settings) -> list[Finding]:
    """Every setting with its value; for secrets, only whether one is set."""
    values = msgspec.structs.asdict(settings)
    return [
        Finding("settings", f"EVERPOST_{name.upper()}", shown_setting(name, value)) for name, value in values.items()
    ]


def shown_setting(name: str, value: object) -> str:
    """A setting's value as it may be shown."""
    if value is None:
        return "(not set)"
    if name in SECRET:
        return "(set, not shown)"
    return str(value)


def size_text(size_bytes: int) -> str:
    """A size in the form people read."""
    for limit, unit in ((GIB, "GiB"), (MIB, "MiB")):
        if size_bytes >= limit:
            return f"{size_bytes / limit:.1f} {unit}"
    return f"{size_bytes / 1024:.0f} KiB"
