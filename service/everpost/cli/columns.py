"""Which columns of a table fit a terminal, and their widths: ids and statuses whole, the rest as far as they fit."""

from collections.abc import Mapping, Sequence

import msgspec
from rich.cells import cell_len, set_cell_size

GAP = 2
LONGEST = 60  # cells for a text in a list


class Column(msgspec.Struct, frozen=True):
    """A column.

    Attributes:
        least: The fewest cells at which the column is useful; 0 means that its texts must be whole.
        rank: Columns of a lower rank get room first; columns of rank 0 are always shown.
        comfort: Cells the column gets, if its texts need them, before columns of rank 2 or higher get any.
    """

    name: str
    title: str
    least: int = 0
    rank: int = 0
    comfort: int = 0


def natural_width(column: Column, texts: Sequence[str]) -> int:
    """The cells that the widest text or the title needs; a column that may be cut takes `LONGEST` at most."""
    widest = max((cell_len(text) for text in texts), default=0)
    return max(min(widest, LONGEST) if column.least else widest, cell_len(column.title))


def fit_columns(columns: Sequence[Column], natural: Mapping[str, int], width: int | None) -> dict[str, int]:
    """The widths of the columns that fit, by name, in the given order; all columns if `width` is None.

    The result is empty if the columns of rank 0 do not fit. The caller leaves out columns without any text.
    """
    if width is None:
        return {column.name: natural[column.name] for column in columns}
    ranked = sorted(columns, key=lambda column: column.rank)
    chosen: dict[str, int] = {}
    left = width + GAP
    for column in ranked:
        if column.rank > 1:
            left -= _grow(chosen, {each.name: min(natural[each.name], each.comfort) for each in ranked}, left)
        needed = min(natural[column.name], column.least or natural[column.name])
        if needed + GAP <= left:
            chosen[column.name] = needed
            left -= needed + GAP
        elif column.rank == 0:
            return {}
    _grow(chosen, natural, left)
    return {column.name: chosen[column.name] for column in columns if column.name in chosen}


def _grow(chosen: dict[str, int], wanted: Mapping[str, int], left: int) -> int:
    """Widen the columns one by one to the wanted widths, as far as `left` cells allow; return the cells used."""
    taken = 0
    for name, width in chosen.items():
        more = max(min(left - taken, wanted[name] - width), 0)
        chosen[name] += more
        taken += more
    return taken


def fit_text(text: str, width: int) -> str:
    """The text in exactly `width` cells, padded or cut with an ellipsis; a Chinese character takes two cells."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, max(width - 1, 0)) + "…"[:width]
