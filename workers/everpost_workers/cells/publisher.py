"""A publisher that is called in a cell."""

from everpost.publishing import NotFound, Publisher, PublishJob, PublishResult
from everpost_workers.cells.cell import Cell, CellDiedError
from everpost_workers.cells.frames import Verb
from everpost_workers.cells.suspects import SuspectDiedError


class CellPublisher(Publisher):
    """A publisher that is called in a cell."""

    def __init__(self, cell: Cell, publisher: Publisher, *, is_alone: bool) -> None:
        self.publisher_class = publisher.publisher_class
        self.key_lifetime_s = publisher.key_lifetime_s
        self.can_look_up = publisher.can_look_up
        self.needs_account = publisher.needs_account
        self._cell = cell
        self._is_alone = is_alone

    async def publish(self, job: PublishJob) -> PublishResult:
        """Call `publish` in the cell.

        Raises:
            SuspectDiedError: The cell died.
        """
        result = await self._call(Verb.PUBLISH, job)
        assert isinstance(result, PublishResult), "a cell returns the result of the requested method"
        return result

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Call `look_up` in the cell.

        Raises:
            SuspectDiedError: The cell died.
        """
        return await self._call(Verb.LOOK_UP, job)

    async def _call(self, verb: Verb, job: PublishJob) -> PublishResult | NotFound:
        try:
            return await self._cell.call(verb, job)
        except CellDiedError as error:
            raise SuspectDiedError(str(error), was_alone=self._is_alone) from error
