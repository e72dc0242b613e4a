"""The lineage of a task: the chain of retries it is in, as a graph."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from everpost.store.history import History, TaskDetail

MOST_UP = 20
MOST = 60
MOST_CHARACTERS = 18  # of an id in a box
WIDTH, HEIGHT, APART, BETWEEN = 148, 46, 36, 14


class Node(NamedTuple):
    """A task of a chain.

    Attributes:
        column: How many retries lie between the first task and this one.
        row: Its place among those of the same column, and of other branches.
    """

    task_id: str
    status: str
    created_at: str | None
    retry_of: str | None
    column: int
    row: int


async def find_lineage(history: History, task: TaskDetail) -> list[Node]:
    """The tasks of a chain, at most `MOST`; the task alone if it is in none."""
    first = task
    for _ in range(MOST_UP):
        earlier = await history.find_task(first.retry_of) if first.retry_of else None
        if earlier is None:
            break
        first = earlier
    nodes: list[Node] = []
    await _follow(history, first, 0, 0, nodes)
    return nodes


async def _follow(history: History, task: TaskDetail, column: int, row: int, nodes: list[Node]) -> None:
    """Add a task and its retries; each retry of it after the first begins a row of its own."""
    nodes.append(Node(task.task_id, task.status, task.created_at, task.retry_of, column, row))
    for number, retry in enumerate(reversed(task.retries)):
        detail = await history.find_task(retry.task_id) if len(nodes) < MOST else None
        if detail is not None:
            own_row = max(node.row for node in nodes) + 1 if number else row
            await _follow(history, detail, column + 1, own_row, nodes)


def draw_lineage(nodes: Sequence[Node], here: str, root: str, words: Mapping[str, str], label: str) -> Markup:
    """The graph: each task is a link, and arrows lead from a task to its retries.

    Args:
        words: The names of statuses.
    """
    columns, rows = max(node.column for node in nodes) + 1, max(node.row for node in nodes) + 1
    width, height = columns * (WIDTH + APART) - APART + 4, rows * (HEIGHT + BETWEEN) - BETWEEN + 4
    places = {node.task_id: (2 + node.column * (WIDTH + APART), 2 + node.row * (HEIGHT + BETWEEN)) for node in nodes}
    arrows = (_arrow(places[node.retry_of], places[node.task_id]) for node in nodes if node.retry_of in places)
    boxes = (_box(node, places[node.task_id], here, root, words) for node in nodes)
    return Markup(
        '<svg class="lineage" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="group" aria-label="{2}">{3}{4}</svg>'
    ).format(width, height, label, Markup("").join(arrows), Markup("").join(boxes))


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> Markup:
    x, y = start[0] + WIDTH, start[1] + HEIGHT // 2
    to_x, to_y = end[0], end[1] + HEIGHT // 2
    middle = (x + to_x) // 2
    return Markup('<path class="arrow" d="M{} {}C{} {} {} {} {} {}m-5 -4l5 4l-5 4"/>').format(
        x, y, middle, y, middle, to_y, to_x - 1, to_y
    )


def _box(node: Node, place: tuple[int, int], here: str, root: str, words: Mapping[str, str]) -> Markup:
    x, y = place
    return Markup(
        '<a href="{}tasks/{}" class="node {}{}"><title>{}</title><rect x="{}" y="{}" width="{}" height="{}" rx="8"/>'
        '<circle cx="{}" cy="{}" r="4"/><text x="{}" y="{}">{}</text><text class="id" x="{}" y="{}">{}</text></a>'
    ).format(
        root, quote(node.task_id, safe=""), node.status, " here" if node.task_id == here else "", node.task_id,
        x, y, WIDTH, HEIGHT, x + 15, y + 17, x + 27, y + 21, words.get(node.status, node.status),
        x + 15, y + 37, _short(node.task_id),
    )  # fmt: skip


def _short(task_id: str) -> str:
    return task_id if len(task_id) <= MOST_CHARACTERS else f"…{task_id[4 - MOST_CHARACTERS :]}"
