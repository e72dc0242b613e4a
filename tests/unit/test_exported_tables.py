"""Rows as NDJSON and CSV, and what is whole of a file that was cut off."""

import csv
import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.cli.exported_rows import RowCutter, last_cursor, whole_rows
from everpost.views.tables import BYTE_ORDER_MARK, Format, cell_of


class Row(msgspec.Struct):
    task_id: str
    title: str | None
    number: int
    data: dict[str, str]
    cursor: str


def read(text: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.decode(), newline="")))


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x"]
)
def test_no_cell_begins_like_a_formula(text: str) -> None:
    assert cell_of(text) == f"'{text}"


@pytest.mark.parametrize("text", ["title", "2026-01-01", "a=b", "'=1", " =1", ""])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert cell_of(text) == text


def test_cells_are_numbers_words_and_json() -> None:
    rows = [Row("a", None, -5, {"k": 'v,"\n'}, "c")]
    assert read(Format.CSV.write(rows)) == [["a", "", "-5", '{"k":"v,\\"\\n"}', "c"]]
    assert Format.CSV.head(Row).decode() == f"{BYTE_ORDER_MARK}task_id,title,number,data,cursor\r\n"
    assert msgspec.json.decode(Format.NDJSON.write(rows)) == msgspec.to_builtins(rows[0])


TEXTS = st.text(alphabet=st.sampled_from('a,"\n\r;=测 '), max_size=8)
ROWS = st.lists(st.builds(Row, TEXTS, TEXTS | st.none(), st.integers(0, 9), st.just({}), st.just("")), max_size=6)


@given(ROWS, st.sampled_from(Format), st.integers(1, 9), st.data())
def test_a_file_that_was_cut_off_anywhere_goes_on_behind_its_last_whole_row(
    rows: list[Row], format_: Format, size: int, data: st.DataObject
) -> None:
    for number, row in enumerate(rows):
        row.cursor = f"cursor{number}"
    parts = [format_.head(Row), *(format_.write([row]) for row in rows)]
    whole = b"".join(parts)
    cut = data.draw(st.integers(0, len(whole)))
    chunks = [whole[start : min(start + size, cut)] for start in range(0, cut, size)]
    cursor, size_bytes = last_cursor(chunks, format_)
    sizes = [len(b"".join(parts[: count + 1])) for count in range(len(parts))]
    complete = sum(end <= cut for end in sizes[1:])
    assert (cursor, size_bytes) == ((f"cursor{complete - 1}", sizes[complete]) if complete else (None, 0))


@given(ROWS, st.sampled_from(Format), st.integers(1, 9))
def test_rows_come_whole_however_the_bytes_come(rows: list[Row], format_: Format, size: int) -> None:
    for number, row in enumerate(rows):
        row.cursor = f"cursor{number}"
    whole = format_.head(Row) + format_.write(rows)
    chunks = [whole[start : start + size] for start in range(0, len(whole), size)]
    found = list(whole_rows(chunks, format_, has_head=format_ is Format.CSV))
    assert b"".join(text for text, _, _ in found) == whole
    assert sum(count for _, count, _ in found) == len(rows)
    assert (found[-1][2] if found else None) == (f"cursor{len(rows) - 1}" if rows else None)


def test_an_unfinished_row_is_kept_for_later() -> None:
    cutter = RowCutter("csv")
    assert cutter.feed(b'a,"x\n') == (b"", 0)
    assert cutter.feed(b'y",c\r\nb') == (b'a,"x\ny",c\r\n', 1)
    assert cutter.cursor() == "c"
