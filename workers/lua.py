"""The engine's Lua scripts: each is one atomic step in Redis, described at the top of its file."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("scripts")


@cache
def script_source(name: str) -> str:
    """The text of `scripts/<name>.lua`."""
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
