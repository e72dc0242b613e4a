"""Which SQLite library is in use, for aiosqlite and for us alike.

SQLite up to 3.51.2 can corrupt a WAL database when one connection checkpoints while another commits
(https://sqlite.org/releaselog/3_51_3.html), and the Python images carry an older one. The `pysqlite3` wheel brings its
own; where it is installed, aiosqlite is imported on top of it. The rest of the process keeps its `sqlite3`.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

FIXED_IN = (3, 51, 3)


def _choose() -> ModuleType:
    try:
        newer = importlib.import_module("pysqlite3")
    except ImportError:
        return importlib.import_module("sqlite3")
    return newer


def _import_aiosqlite(library: ModuleType) -> ModuleType:
    if "aiosqlite" in sys.modules:  # somebody else was first: its library is then ours too
        return sys.modules["aiosqlite"]
    usual = sys.modules.get("sqlite3")
    sys.modules["sqlite3"] = library
    try:
        return importlib.import_module("aiosqlite")
    finally:
        if usual is None:
            del sys.modules["sqlite3"]
        else:
            sys.modules["sqlite3"] = usual


if TYPE_CHECKING:
    import sqlite3

    import aiosqlite
else:
    aiosqlite = _import_aiosqlite(_choose())
    sqlite3 = aiosqlite.core.sqlite3

LIBRARY = f"{sqlite3.__name__} {sqlite3.sqlite_version}"
CORRUPTION_FIXED = sqlite3.sqlite_version_info >= FIXED_IN

__all__ = ["CORRUPTION_FIXED", "LIBRARY", "aiosqlite", "sqlite3"]
