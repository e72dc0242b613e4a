"""Brings the tables up to this version: the files `NNNN_name.sql` beside this one, in order, each once."""

from pathlib import Path

from everpost.errors import DatabaseUnusable
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.statements import Sql

FOLDER = Path(__file__).parent


def migrations() -> list[Path]:
    """The files, in order; the first one is version 1."""
    return sorted(FOLDER.glob("[0-9]*_*.sql"))


async def find_version(connection: Connection) -> int | None:
    """The version of the tables; None if there are none. It changes nothing."""
    has_tables = await connection.fetch_value("has_schema_versions")
    return int(await connection.fetch_value("schema_version")) if has_tables else None


async def migrate(connection: Connection) -> None:
    """Apply the files that were not applied yet, in one transaction, while other processes wait.

    Raises:
        DatabaseUnusable: A newer Everpost has changed the tables.
    """
    await connection.fetch_all("lock_schema")
    await connection.run_script("make_schema_versions")
    done = await connection.fetch_value("schema_version")
    files = migrations()
    if done > len(files):
        raise DatabaseUnusable("The tables were made by a newer Everpost.")
    for version, path in enumerate(files, 1):
        if version > done:
            await connection.run_script(Sql(path.read_text(encoding="utf-8")))
            await connection.run("keep_schema_version", version=version, name=path.stem)
