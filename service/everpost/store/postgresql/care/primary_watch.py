"""Keeps a process from using a server that was replaced, also if it reaches no other one.

After a network was cut in two, an old primary may go on answering the processes on its side. Its ledger does not say
what the others have sent since the promotion, so a task would be sent twice. All of them share one Redis: there, each
reports the timeline of its primary, and learns the newest.
"""

import asyncio
from contextlib import suppress

from everpost.errors import QueueUnreachable
from everpost.store.care import NoteTimeline
from everpost.store.postgresql.link.primary import Primary
from everpost.store.postgresql.link.session import Identity

EVERY_S = 1.0


class PrimaryWatch:
    """Compares this process's primary with the others'."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self._note_timeline: NoteTimeline | None = None
        self._loop: asyncio.Task[None] | None = None

    def share(self, note_timeline: NoteTimeline) -> None:
        """Look every second from now on."""
        self._note_timeline = note_timeline
        self._loop = asyncio.create_task(self._look_often(), name="primary")

    async def close(self) -> None:
        """Stop."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])

    async def look(self) -> None:
        """Look once, and give the primary up if it was replaced."""
        if self._primary.server is not None:
            await self.report(self._primary.server)

    async def report(self, server: Identity) -> None:
        """Report which server this process uses. While Redis does not answer, no task can be claimed either."""
        if self._note_timeline is None or server.system_identifier is None or server.timeline is None:
            return
        with suppress(QueueUnreachable):
            self._primary.use_none_before(await self._note_timeline(server.system_identifier, server.timeline))

    async def _look_often(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)
