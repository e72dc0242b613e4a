"""The tasks of a bulk request, page by page."""

from collections.abc import Sequence

from everpost.actions.bulk.request import BulkRequest
from everpost.portions import count_fitting
from everpost.store import Store
from everpost.store.history import SEARCH_S

CHUNK_BYTES = 16 << 20  # of data in one step: it is in memory several times, and other writes wait for it
BEGINNING = ""


class Pages:
    """Finds the tasks of requests. A position is where a page begins: `BEGINNING`, or an opaque text.

    Earlier versions kept None for the beginning.
    """

    def __init__(self, store: Store) -> None:
        self._archive = store.archive
        self._history = store.history
        self._operations = store.operations

    async def count(self, request: BulkRequest) -> int:
        """The number of tasks."""
        if request.ended_before_ms is not None:
            return await self._archive.count_older(request.ended_before_ms)
        if request.undoes is not None:
            undone = await self._operations.find(request.undoes)
            return 0 if undone is None else undone[0].succeeded
        if request.filter is None:
            return len(request.task_ids or ())
        return (await self._history.total(request.filter, limit=None)).total

    async def page(
        self, request: BulkRequest, position: str | None, limit: int, within_s: float = SEARCH_S
    ) -> tuple[Sequence[str], str | None]:
        """The ids of the page at a position, at most `limit`, and the position of the next one; None after the last."""
        if request.ended_before_ms is not None:
            return await self._archive.page_older(request.ended_before_ms, position or None, limit)
        if request.undoes is not None:
            found = await self._operations.page_done(request.undoes, position or BEGINNING, limit)
            return found, found[-1] if len(found) == limit else None
        if request.filter is not None:
            return await self._history.page_ids(request.filter, position or None, limit, within_s=within_s)
        ids = request.task_ids or ()
        start = int(position or 0)
        end = start + limit
        return ids[start:end], str(end) if end < len(ids) else None

    async def page_that_fits(
        self, request: BulkRequest, position: str | None, limit: int, within_s: float = SEARCH_S
    ) -> tuple[Sequence[str], str | None]:
        """Like `page`, with no more tasks than one transaction can take, by their data."""
        ids, following = await self.page(request, position, limit, within_s)
        fitting = await self.fitting(ids)
        return (ids, following) if fitting == ids else await self.page(request, position, len(fitting), within_s)

    async def fitting(self, task_ids: Sequence[str]) -> Sequence[str]:
        """The first of the tasks, as many as one transaction can take, by their data."""
        return task_ids[: count_fitting(await self._history.sizes(task_ids), CHUNK_BYTES)]
