"""What `everpost doctor` finds: one fact a line, each well, ill, or only worth knowing."""

import msgspec

from everpost.settings import SECRET, Settings

GIB = 1 << 30
MIB = 1 << 20


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fact.

    Attributes:
        ok: None where there is nothing to judge.
        advice: What to do; empty where nothing is.
    """

    about: str
    name: str
    value: str
    ok: bool | None = None
    advice: str = ""


def settings_as_read(settings: Settings) -> list[Finding]:
    """Every setting with its value; of secrets, only whether there is one."""
    values = msgspec.structs.asdict(settings)
    return [
        Finding("settings", f"EVERPOST_{name.upper()}", shown_setting(name, value)) for name, value in values.items()
    ]


def shown_setting(name: str, value: object) -> str:
    """A setting's value as people may see it."""
    if value is None:
        return "(not set)"
    if name in SECRET:
        return "(set, not shown)"
    return str(value)


def size_text(size_bytes: int) -> str:
    """A size for people."""
    for limit, unit in ((GIB, "GiB"), (MIB, "MiB")):
        if size_bytes >= limit:
            return f"{size_bytes / limit:.1f} {unit}"
    return f"{size_bytes / 1024:.0f} KiB"
