"""The statements, one a file, each named like the method that runs it."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


def load(name: str) -> str:
    """The text of `name`.sql."""
    return _statements()[name]


@cache
def _statements() -> Mapping[str, str]:
    """All of them at once: an outcome can be recorded also when no file can be opened any more."""
    return {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.sql")}
