"""The statements, one a file, each named like the method that runs it."""

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def load(name: str) -> str:
    """The text of `name`.sql."""
    return (FOLDER / f"{name}.sql").read_text(encoding="utf-8")
