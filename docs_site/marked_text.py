"""Text that programs write into documents: it stands between two comments with its name."""

import re
from collections.abc import Iterable, Sequence


def write_between(text: str, made: str, name: str) -> str:
    """The document with what is between the markers of this name replaced.

    Raises:
        ValueError: It has no markers.
    """
    begin_mark, end_mark = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = text.partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end:
        raise ValueError(f"no {begin_mark} and {end_mark} to write between")
    return f"{before}{begin_mark}\n{made}\n{end_mark}{after}"


def apart(text: str) -> str:
    """The same for Python-Markdown, which wants an empty line between a paragraph and a list."""
    return re.sub(r"^((?!- )\S.*)\n(?=- )", r"\1\n\n", text, flags=re.MULTILINE)


def row(*cells: str) -> str:
    """A line of a table; a line break in a cell becomes a space, and a bar outside of code is escaped."""
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    parts = text.replace("\n", " ").split("`")
    return "`".join(part if place % 2 else part.replace("|", "&#124;") for place, part in enumerate(parts))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [row(*heads), f"|{'---|' * len(heads)}", *(row(*cells) for cells in rows)]
