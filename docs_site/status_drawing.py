"""The drawing of the statuses and their moves as SVG, from the table of moves in the code."""

from collections.abc import Iterator
from html import escape

from everpost.task.model import MOVES, TaskStatus

WIDTH, HEIGHT = 120, 36  # of a status
SIZE = (800, 390)
PLACES = {
    TaskStatus.SCHEDULED: (80, 60),
    TaskStatus.PENDING: (230, 190),
    TaskStatus.RETRY: (230, 340),
    TaskStatus.RUNNING: (420, 190),
    TaskStatus.CANCELLED: (420, 40),
    TaskStatus.UNKNOWN: (580, 190),
    TaskStatus.SUCCESS: (720, 60),
    TaskStatus.FAILED: (720, 340),
}
"""The middle of each status; no arrow crosses another status."""
HEAD = """\
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0L8 4L0 8z"/></marker></defs>"""
BEND = 16  # how far the middle of an arrow is from the straight line, so that two opposite arrows do not meet
ENDED = {TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.UNKNOWN}


def drawing() -> str:
    """The drawing, for a page of Markdown; its colours are those of the page's text."""
    width, height = SIZE
    arrows = [(start, end) for start, ends in MOVES.items() for end in sorted(ends)]
    told = "; ".join(f"{start} to {end}" for start, end in arrows)
    return "\n".join(
        [
            f'<svg class="statuses" viewBox="0 0 {width} {height}" role="img" aria-label="The moves: {escape(told)}">',
            HEAD,
            *(_arrow(start, end) for start, end in arrows),
            *(line for status in PLACES for line in _box(status)),
            "</svg>",
        ]
    )


def _box(status: TaskStatus) -> Iterator[str]:
    x, y = PLACES[status]
    kind = ' class="ended"' if status in ENDED else ""
    yield f'<rect{kind} x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
    yield f'<text x="{x}" y="{y + 5}">{status}</text>'


def _arrow(start: TaskStatus, end: TaskStatus) -> str:
    """A curve between the borders of two statuses; it bends to its left."""
    (x1, y1), (x2, y2) = PLACES[start], PLACES[end]
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    bend_x, bend_y = (y2 - y1) / length * BEND, (x1 - x2) / length * BEND
    middle = ((x1 + x2) / 2 + bend_x, (y1 + y2) / 2 + bend_y)
    from_x, from_y = _border(PLACES[start], middle)
    to_x, to_y = _border(PLACES[end], middle)
    return f'<path d="M{from_x:.0f} {from_y:.0f}Q{middle[0]:.0f} {middle[1]:.0f} {to_x:.0f} {to_y:.0f}"/>'


def _border(place: tuple[int, int], towards: tuple[float, float]) -> tuple[float, float]:
    """Where the line from the middle of a status to a point leaves its box."""
    x, y = place
    dx, dy = towards[0] - x, towards[1] - y
    scale = min((WIDTH / 2 + 3) / abs(dx) if dx else 1e9, (HEIGHT / 2 + 3) / abs(dy) if dy else 1e9)
    return x + dx * scale, y + dy * scale
