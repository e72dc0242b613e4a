"""The statements, one a file, named like the verb or function that runs it, in a folder for each noun of the port.

No name is in two folders. A statement on `{ended}` becomes two, `NAME_TABLE`, one for each table of ended tasks. One
on `{ids}` becomes two: `NAME` takes a JSON list `:ids`, and `NAME_of_one`, which is quicker, one `:id`. Another name in
braces stands for the text of a file in `parts/`.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from everpost.store.sqlite.tables import ENDED_TABLES

FOLDER = Path(__file__).parent


def load(name: str) -> str:
    """The text of a statement."""
    return statements()[name]


@cache
def statements() -> Mapping[str, str]:
    """The text of each statement. All are read at once: an outcome must be recorded also when no file can be opened."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*/*.sql")}
    parts = {path.stem: texts.pop(path.stem).strip() for path in FOLDER.glob("parts/*.sql")}
    for part, content in parts.items():
        texts = {name: text.replace(f"{{{part}}}", content) for name, text in texts.items()}
    for name in [name for name, text in texts.items() if "{ended}" in text]:
        text = texts.pop(name)
        texts |= {f"{name}_{table}": text.replace("{ended}", table) for table in ENDED_TABLES}
    for name, text in [(name, text) for name, text in texts.items() if "{ids}" in text]:
        texts[name] = text.replace("{ids}", "json_each(:ids)")
        texts[f"{name}_of_one"] = text.replace("{ids}", "(SELECT :id AS value)")
    return texts
