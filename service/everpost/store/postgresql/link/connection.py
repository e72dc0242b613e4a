"""One connection as the verbs see it: it runs statements by their names."""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from everpost.store.postgresql.link.faults import meaning_of
from everpost.store.postgresql.link.session import Session
from everpost.store.postgresql.link.statements import statement

Record = dict[str, Any]
"""A row: the value of each column by its name."""

TypedRow = tuple[Any, ...]
"""A row to write: the value of each column, in the order of the type that the statement takes; the first is the id."""

_id_of = itemgetter(0)


class Connection:
    """Runs statements; the methods differ in what they return.

    `name` is a file in `queries/`, without `.sql`, or an `Sql`. Every `:parameter` of the statement is passed by its
    name. Its type is the one PostgreSQL finds for it: `text` takes a `str`, `bytea` takes `bytes`, `bigint` takes an
    `int`, `text[]` takes a list; `:limit::bigint` says it where it is not clear.

    Raises (all of them):
        StatementRefused: A constraint or a value's type.
        Unavailable: The errors of `Database.write`.
    """

    def __init__(self, session: Session, statement_s: float | None) -> None:
        self._raw = session.raw
        self._statement_s = statement_s

    async def fetch_all(self, name: str, /, **parameters: Any) -> list[Record]:
        """All rows."""
        text, arguments = _arguments(name, parameters)
        try:
            rows = await self._raw.fetch(text, *arguments, timeout=self._statement_s)
        except Exception as error:
            raise meaning_of(error) from error
        return [dict(row) for row in rows]

    async def fetch_one(self, name: str, /, **parameters: Any) -> Record | None:
        """The first row, or None."""
        rows = await self.fetch_all(name, **parameters)
        return rows[0] if rows else None

    async def fetch_value(self, name: str, /, **parameters: Any) -> Any:
        """The first column of the first row; None if there is no row."""
        row = await self.fetch_one(name, **parameters)
        return next(iter(row.values())) if row else None

    async def write_rows(self, name: str, rows: Iterable[TypedRow], **others: Any) -> list[Record]:
        """All rows of a statement that takes rows of a type as `:rows`, in the order of their ids, and `:ids`."""
        ordered = sorted(rows, key=_id_of)
        given = {"rows": ordered, "ids": [*map(_id_of, ordered)], **others}
        return await self.fetch_all(name, **{each: given[each] for each in statement(name).parameters})

    async def run(self, name: str, /, **parameters: Any) -> int:
        """Run a statement without RETURNING; how many rows it wrote."""
        text, arguments = _arguments(name, parameters)
        try:
            tag = await self._raw.execute(text, *arguments, timeout=self._statement_s)
        except Exception as error:
            raise meaning_of(error) from error
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def run_script(self, name: str, /) -> str:
        """Run one or several statements without parameters; the last one's command tag."""
        try:
            tag: str = await self._raw.execute(statement(name).text, timeout=self._statement_s)
        except Exception as error:
            raise meaning_of(error) from error
        return tag


def _arguments(name: str, parameters: dict[str, Any]) -> tuple[str, list[Any]]:
    text, names = statement(name)
    try:
        arguments = [parameters[each] for each in names]
    except KeyError as missing:
        raise TypeError(f"{name} takes {names}; {missing} is missing") from missing
    if len(names) != len(parameters):
        raise TypeError(f"{name} takes {names}, not {sorted(parameters)}")
    return text, arguments
