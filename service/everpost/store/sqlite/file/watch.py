"""What is checked each second while a database is open: its files, the length of its log, and long reads."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import aiosqlite

from everpost.log_fields import as_event
from everpost.store.sqlite.library import CORRUPTION_FIXED, sqlite3

logger = logging.getLogger("everpost.store")

LOOK_S = 1.0
LARGE_LOG_BYTES = 256 << 20
"""A long-running reader keeps a log of this length from restarting; 16 MB are usual."""
LONG_READ_S = 30.0  # while the log is that long, an Everpost read that takes longer is stopped


async def repeat(look: Callable[[], Awaitable[None]]) -> None:
    """Repeat the check until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            await look()
        except Exception:
            logger.exception("database.watch_failed")


def copy_log(raw: sqlite3.Connection) -> bool:
    """Copy the whole log into the database through the connection that holds it; False if another use prevents it.

    This also works for a deleted log: the connection still has it open, and its content would be lost with the process.
    """
    if not CORRUPTION_FIXED:  # a checkpoint may race another process's commit
        return False
    with suppress(sqlite3.Error):
        is_busy, frames, copied = raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return not is_busy and frames == copied
    return False


def may_be_written(path: Path) -> bool:
    """Whether this user may write the file and its folder."""
    ids = {"effective_ids": True} if os.access in os.supports_effective_ids else {}
    return os.access(path, os.W_OK, **ids) and os.access(path.parent, os.W_OK, **ids)


def give_mode(path: Path, *beside: Path) -> None:
    """Give the files that SQLite made beside a read-only database the database's mode: they are read-only, too."""
    mode = path.stat().st_mode & 0o666
    for file in beside:
        with suppress(OSError):
            file.chmod(mode)


class LogLength:
    """The length of the write-ahead log. It is logged when it becomes too long, and when it no longer is."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.size_bytes = 0
        self.is_large = False

    def look(self, longest_read_s: float) -> None:
        """Check once. `longest_read_s` is the time of this process's longest running read."""
        try:
            self.size_bytes = self._log.stat().st_size
        except OSError:
            return
        is_large = self.size_bytes >= LARGE_LOG_BYTES
        if is_large and not self.is_large:
            advice = "End the reader that keeps it from starting anew: a shell or report on the file, a backup."
            fields = as_event(size_bytes=self.size_bytes, own_longest_read_s=round(longest_read_s, 1), advice=advice)
            logger.warning("database.log_is_long", extra=fields)
        elif self.is_large and not is_large:
            logger.info("database.log_is_short_again", extra=as_event(size_bytes=self.size_bytes))
        self.is_large = is_large


class Reads:
    """The running reads of this process, and their starts."""

    def __init__(self) -> None:
        self._begun: dict[aiosqlite.Connection, float] = {}

    def begin(self, connection: aiosqlite.Connection) -> None:
        """Note that a read begins on a connection."""
        self._begun[connection] = time.monotonic()

    def end(self, connection: aiosqlite.Connection) -> None:
        """Note that it has ended."""
        self._begun.pop(connection, None)

    @property
    def longest_s(self) -> float:
        """Seconds that the longest running read has taken so far."""
        return time.monotonic() - min(self._begun.values()) if self._begun else 0.0

    async def stop_long(self) -> None:
        """Interrupt reads that take longer than `LONG_READ_S`."""
        now = time.monotonic()
        for connection, begun in list(self._begun.items()):
            if now - begun > LONG_READ_S:
                logger.warning("database.read_stopped", extra=as_event(after_s=round(now - begun, 1)))
                await connection.interrupt()
