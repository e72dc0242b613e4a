"""The pause of dispatch: a restore begins it, and until `everpost resume` ends it, no worker claims anything."""

import msgspec
import structlog

from everpost.store.meta import Meta

KEY = "paused"  # among the values of `everpost.store.meta.Meta`; it is there as long as dispatch is paused

log = structlog.get_logger("everpost.dispatch")


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Why dispatch is paused, as it was when the backup took the database's place.

    Attributes:
        newest_at: The time of the newest row. What happened since is not in the database.
        sending: Tasks that were being sent when the backup was made; they are unknown now.
        held: Tasks that were unfinished in it, and may have been sent since.
        scheduled: Tasks that were not due before the restore; they wait for their time.
        operations: Bulk requests that were under way; they are given up.
        replaced: Where the database is that was there before; None if no database was there.
        while_running: Processes went on meanwhile, so workers may remember tasks that the database lacks.
        left_out: What acts by itself and is not Everpost's: triggers, views and the like. It was not restored.
    """

    backup: str
    restored_at: str
    newest_at: str | None
    ended: int
    sending: int
    held: int
    scheduled: int
    operations: int
    replaced: str | None
    while_running: bool = False
    left_out: tuple[str, ...] = ()


def read_pause(text: str | None) -> Pause | None:
    """The pause that `write_pause` wrote; None while dispatch is not paused."""
    return None if text is None else msgspec.json.decode(text, type=Pause)


def write_pause(pause: Pause) -> str:
    """The pause as text."""
    return msgspec.json.encode(pause).decode()


async def find_pause(meta: Meta) -> Pause | None:
    """The pause; None if dispatch goes on."""
    return read_pause(await meta.get(KEY))


async def end_pause(meta: Meta) -> None:
    """End the pause. This can be repeated."""
    await meta.set(KEY, None)


async def warn_of_pause(meta: Meta) -> bool:
    """Log the pause; False if dispatch is not paused."""
    pause = await find_pause(meta)
    if pause is not None:
        log.warning("dispatch.paused", resume_with="everpost resume", **msgspec.structs.asdict(pause))
    return pause is not None
