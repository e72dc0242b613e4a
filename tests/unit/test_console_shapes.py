"""The drawings of the console."""

import re
from xml.etree import ElementTree as ET

import pytest

from everpost.api.console.shapes import ICONS, Bar, Line, bars, icon, lines, marks, share_bar, spark


def heights(svg: str, kind: str) -> list[float]:
    return [float(one) for one in re.findall(rf'class="{kind}" [^>]*height="([\d.]+)"', svg)]


def test_bars_are_stacked_in_proportion_and_name_their_numbers() -> None:
    svg = str(
        bars([Bar("10:00", "six, two", {"success": 6, "failed": 2}), Bar("10:01", "", {"success": 0})], 8, "Ends")
    )
    assert heights(svg, "success") == [90.0]
    assert heights(svg, "failed") == [30.0]
    assert "<title>10:00: six, two</title>" in svg
    assert "<title>10:01: 0</title>" in svg


def test_lines_are_logarithmic_and_break_where_nothing_was_measured() -> None:
    of = [Line("p50", [0.01, None, 0.1, 1.0])]
    assert marks(of) == [1.0, 0.1, 0.01]
    (path,) = re.findall(r' d="([^"]+)"', str(lines(of, "Waits")))
    assert path.count("M") == 2
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
    assert heights == [118.0, 60.0, 2.0]


@pytest.mark.parametrize("values", [[], [0, 0], [1, 5, 0]])
def test_drawings_of_anything_are_xml_without_inline_style(values: list[int]) -> None:
    drawn = [
        spark(values, "<&>"),
        share_bar(sum(values), 3, '"'),
        bars([Bar("<b>", "&", {"failed": value}) for value in values], max(values, default=0), "x"),
        lines([Line("p99", [None, *map(float, values)])], "y"),
        *(icon(name) for name in re.findall(r"^(\w+) =", ICONS.read_text("utf-8"), flags=re.MULTILINE)),
    ]
    for svg in drawn:
        ET.fromstring(svg)
        assert "style=" not in svg
