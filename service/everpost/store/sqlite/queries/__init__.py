"""The statements, one a file, named like the verb or function that runs it, in a folder for each noun of the port.

No name is in two folders.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


def load(name: str) -> str:
    """The text of `name`.sql."""
    return statements()[name]


@cache
def statements() -> Mapping[str, str]:
    """The text of each file. All are read at once: an outcome must be recorded also when no file can be opened."""
    return {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*/*.sql")}
