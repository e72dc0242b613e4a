"""PostgreSQL for callers that block: commands that have no event loop, or must not wait in theirs."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from everpost.database_address import PostgresqlAddress
from everpost.store.postgresql.link.connection import Record
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.transactions import Work

T = TypeVar("T")
LONG_S = 3_600.0  # only this command waits


class BlockingDatabase:
    """A `Database` on the event loop of a thread of its own.

    Raises the errors of `Database`.
    """

    def __init__(self, address: PostgresqlAddress) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="database", daemon=True)
        self._thread.start()
        try:
            self._database = self._call(Database.open(address))
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._call(self._database.close())
        finally:
            self._stop()

    def run(self, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
        """Run a function that uses the database itself."""
        return self._call(work(self._database))

    def read(self, work: Work[T]) -> T:
        """See `Database.read`."""
        return self._call(self._database.read(work, within_s=LONG_S))

    def write(self, work: Work[T]) -> T:
        """See `Database.write`; a statement may take as long as it likes."""
        return self._call(self._database.write(work, statement_s=None))

    def fetch_all(self, name: str, /, **parameters: Any) -> list[Record]:
        """The rows of one statement."""
        return self.read(lambda connection: connection.fetch_all(name, **parameters))

    def fetch_value(self, name: str, /, **parameters: Any) -> Any:
        """The first column of a statement's first row."""
        return self.read(lambda connection: connection.fetch_value(name, **parameters))

    def run_alone(self, statement: str) -> None:
        """Run a statement that cannot be in a transaction."""
        self.read(lambda connection: connection.run_script(statement))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
