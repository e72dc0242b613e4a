"""What tests of the link write and read: one table of rows with a value."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from everpost.database_address import postgresql_address
from everpost.store.postgresql.link.connection import Connection, Record
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.statements import Sql

ROWS = Sql("""
    DROP TABLE IF EXISTS link_rows;
    CREATE TABLE link_rows (task_id text COLLATE "C" PRIMARY KEY, value text CHECK (value <> 'refused'))
""")
WRITE = Sql("""
    INSERT INTO link_rows
    SELECT task_id, value FROM unnest(:rows::link_rows[]) ORDER BY task_id
    RETURNING task_id
""")
AGAIN = Sql("""
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(:rows::link_rows[])
    ), known AS (
        SELECT task_id FROM link_rows WHERE task_id IN (SELECT given.task_id FROM given)
    ), added AS (
        INSERT INTO link_rows SELECT task_id, value FROM given WHERE task_id NOT IN (TABLE known) ORDER BY task_id
        RETURNING task_id
    )
    TABLE added UNION ALL TABLE known
""")
ADD = Sql("INSERT INTO link_rows (task_id, value) VALUES (:task_id, :value)")
ALL = Sql("SELECT task_id, value FROM link_rows ORDER BY task_id")
STATEMENTS = Sql("SELECT count(DISTINCT xmin::text) FROM link_rows")
"""How many transactions wrote the rows."""


def row(task_id: str, value: str | None = None) -> tuple[str, str | None]:
    """A row to be written."""
    return task_id, value


async def write(database: Database, *task_ids: str) -> list[Record]:
    """Write rows with these ids together."""
    return await database.write_rows(WRITE, [row(task_id) for task_id in task_ids], again=AGAIN)


async def stored(database: Database) -> list[str]:
    """The ids of all rows, in their order."""
    return [found["task_id"] for found in await database.read(lambda connection: connection.fetch_all(ALL))]


async def add(connection: Connection, task_id: str, value: str | None = None) -> None:
    """Add a row in a transaction."""
    await connection.run(ADD, task_id=task_id, value=value)


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Database]:
    """The link to a database with an empty table."""
    database = await Database.open(postgresql_address(address))
    try:
        await database.write(lambda connection: connection.run_script(ROWS))
        yield database
    finally:
        await database.close()
