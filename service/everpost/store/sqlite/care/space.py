"""Free space inside the database file, and how it is returned to the file system.

A file begun by this Everpost keeps the map that SQLite needs to give pages back bit by bit (`auto_vacuum`). An older
file has none, and can only be copied whole; see `compact.py`.
"""

import msgspec

from everpost.store.sqlite.library import sqlite3


class Space(msgspec.Struct, frozen=True):
    """The space of a file.

    Attributes:
        size_bytes: The size of the file, once its log is copied into it.
        free_bytes: How much of it is not in use.
    """

    size_bytes: int
    free_bytes: int


def find_space(connection: sqlite3.Connection) -> Space:
    """The space of an open file."""
    page_bytes, pages, free = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    return Space(page_bytes * pages, page_bytes * free)


def give_back_space(connection: sqlite3.Connection, pages: int) -> int:
    """Shorten the file by at most `pages` free pages; the bytes. A file without the map keeps its length."""
    before = find_space(connection)
    connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()  # each row of the answer is a page
    return before.size_bytes - find_space(connection).size_bytes
