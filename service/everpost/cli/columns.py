"""Which columns of a table fit a terminal, and how wide each is: ids and statuses whole, the rest as far as it goes."""

from collections.abc import Mapping, Sequence

import msgspec
from rich.cells import cell_len, set_cell_size

GAP = 2
LONGEST = 60  # cells of a text in a list


class Column(msgspec.Struct, frozen=True):
    """A column.

    Attributes:
        least: Cells of its texts that have to be shown for the column to be of use; 0 is all of them.
        rank: Columns of a lower rank get room first; those of rank 0 are always there.
        comfort: Cells it gets, where its texts need so many, before columns of rank 2 and more get any.
    """

    name: str
    title: str
    least: int = 0
    rank: int = 0
    comfort: int = 0


def natural_width(column: Column, texts: Sequence[str]) -> int:
    """The cells that the widest of the texts takes, or the title; a column that may be cut takes `LONGEST` at most."""
    widest = max((cell_len(text) for text in texts), default=0)
    return max(min(widest, LONGEST) if column.least else widest, cell_len(column.title))


def fit_columns(columns: Sequence[Column], natural: Mapping[str, int], width: int | None) -> dict[str, int]:
    """The widths of the columns that fit, by name, in the order given; all of them where `width` is None.

    It is empty where those of rank 0 do not fit. Columns nobody has a text for are left out by the caller.
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
    """Widen the columns to what is wanted, one after the other, as far as `left` cells go; the cells it took."""
    taken = 0
    for name, width in chosen.items():
        more = max(min(left - taken, wanted[name] - width), 0)
        chosen[name] += more
        taken += more
    return taken


def fit_text(text: str, width: int) -> str:
    """The text in exactly `width` cells, Chinese characters taking two: padded, or cut with an ellipsis."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, max(width - 1, 0)) + "…"[:width]
