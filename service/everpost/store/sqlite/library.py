"""The SQLite library of this package: its modules import `sqlite3` from here; aiosqlite gets its connections here.

SQLite up to 3.51.2 can corrupt a WAL database if one connection checkpoints while another commits
(https://sqlite.org/releaselog/3_51_3.html), and the Python images have an older one. The wheel `pysqlite3` brings its
own library, which is used if it is installed. The rest of the process keeps its own `sqlite3`.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

FIXED_IN = (3, 51, 3)


def _choose() -> ModuleType:
    try:
        return importlib.import_module("pysqlite3")
    except ImportError:
        return importlib.import_module("sqlite3")


if TYPE_CHECKING:
    import sqlite3
else:
    sqlite3 = _choose()

LIBRARY = f"{sqlite3.__name__} {sqlite3.sqlite_version}"
CORRUPTION_FIXED = sqlite3.sqlite_version_info >= FIXED_IN

__all__ = ["CORRUPTION_FIXED", "LIBRARY", "lenient_text", "sqlite3"]


def lenient_text(value: bytes) -> str:
    """Text as it can be shown: stored text need not be UTF-8. Rows are copied inside SQLite, never through this."""
    return value.decode(errors="replace")
