"""Checkpoints for an SQLite library in which a checkpoint can race another connection's commit and corrupt the file.

Before 3.51.3, a checkpoint that begins exactly when another connection's commit restarts the log may record pages as
copied that were not (https://sqlite.org/wal.html#walresetbug). With such a library, no connection makes checkpoints
automatically. They are made here, inside a write transaction, so that no other connection can commit meanwhile. The log
restarts with the next commit only if all of it was copied, because this transaction writes nothing itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from everpost.errors import Unavailable
from everpost.log_fields import as_event
from everpost.store.sqlite.file.connection import Operation
from everpost.store.sqlite.library import sqlite3

logger = logging.getLogger("everpost.store")

LARGE_LOG_BYTES = 4 << 20
LOOK_S = 1.0


async def keep_log_small(path: Path, write: Callable[[Operation[Any]], Awaitable[object]]) -> None:
    """Copy the log of the database at `path` into the database whenever it is large; runs until it is cancelled.

    Args:
        write: Runs an operation inside a write transaction.
    """
    log = path.with_name(f"{path.name}-wal")
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            if log.stat().st_size >= LARGE_LOG_BYTES:
                await write(Checkpoint(path))
        except (OSError, Unavailable) as error:
            logger.warning("database.no_checkpoint", extra=as_event(error=str(error)))


class Checkpoint(msgspec.Struct, frozen=True):
    """Copies the part of the log that no reader needs; for a transaction of its own."""

    path: Path

    def __call__(self, _: sqlite3.Connection) -> None:
        """Use another connection: the writer's own cannot do it while it holds the lock."""
        try:
            with closing(sqlite3.connect(self.path, timeout=0)) as other:
                other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            logger.warning("database.no_checkpoint", extra=as_event(error=str(error)))
