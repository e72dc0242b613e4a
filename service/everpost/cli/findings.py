"""The settings as `everpost doctor` shows them."""

import msgspec

from everpost.findings import Finding
from everpost.settings import SECRET, Settings


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
