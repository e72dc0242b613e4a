"""One connection as the verbs see it: it runs statements by their names."""

from typing import Any

import asyncpg

from everpost.store.postgresql.link.faults import meaning_of
from everpost.store.postgresql.link.statements import statement

Record = dict[str, Any]
"""A row: the value of each column by its name."""


class Connection:
    """Runs statements; the methods differ in what they return.

    `name` is a file in `queries/`, without `.sql`, or an `Sql`. Every `:parameter` of the statement is passed by its
    name. Its type is the one PostgreSQL finds for it: `text` takes a `str`, `bytea` takes `bytes`, `bigint` takes an
    `int`, `text[]` takes a list; `:limit::bigint` says it where it is not clear.

    Raises (all of them):
        StatementRefused: A constraint or a value's type.
        Unavailable: The errors of `Database.write`.
    """

    def __init__(self, raw: asyncpg.Connection) -> None:
        self._raw = raw

    async def fetch_all(self, name: str, /, **parameters: Any) -> list[Record]:
        """All rows."""
        text, names = statement(name)
        try:
            rows = await self._raw.fetch(text, *[parameters.pop(each) for each in names])
        except Exception as error:
            raise meaning_of(error) from error
        assert not parameters, f"{name} has no parameters {sorted(parameters)}"
        return [dict(row) for row in rows]

    async def fetch_one(self, name: str, /, **parameters: Any) -> Record | None:
        """The first row, or None."""
        rows = await self.fetch_all(name, **parameters)
        return rows[0] if rows else None

    async def fetch_value(self, name: str, /, **parameters: Any) -> Any:
        """The first column of the first row; None if there is no row."""
        row = await self.fetch_one(name, **parameters)
        return next(iter(row.values())) if row else None

    async def run(self, name: str, /, **parameters: Any) -> int:
        """Run a statement without RETURNING; how many rows it wrote."""
        text, names = statement(name)
        try:
            tag = await self._raw.execute(text, *[parameters.pop(each) for each in names])
        except Exception as error:
            raise meaning_of(error) from error
        assert not parameters, f"{name} has no parameters {sorted(parameters)}"
        return int(tag.rpartition(" ")[2])

    async def run_script(self, name: str) -> None:
        """Run several statements, which have no parameters."""
        try:
            await self._raw.execute(statement(name).text)
        except Exception as error:
            raise meaning_of(error) from error
