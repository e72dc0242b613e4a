"""Pages of lists that the store does not limit to a scope: what is outside is left out page by page."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

LOOKS = 20  # pages of the store for one answer


async def page_within(
    ask: Callable[[str | None, int], Awaitable[Sequence[T]]],
    key_of: Callable[[T], str],
    is_kept: Callable[[T], bool],
    before: str | None,
    limit: int,
) -> tuple[list[T], str | None]:
    """The next rows that are kept, at most `limit`, and the key behind which the next page begins; None at the end.

    At most `LOOKS` pages are asked for. So a page may have fewer rows than `limit`, even none, and not be the last.

    Args:
        ask: The rows behind a key, at most so many.
    """
    found: list[T] = []
    for _ in range(LOOKS):
        rows = await ask(before, limit + 1)
        for number, row in enumerate(rows[:limit], 1):
            before = key_of(row)
            if is_kept(row):
                found.append(row)
            if len(found) == limit:
                return found, before if number < len(rows) else None
        if len(rows) <= limit:
            return found, None
    return found, before
