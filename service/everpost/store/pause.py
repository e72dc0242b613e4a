"""The port's noun `pause`: dispatch on hold after a restore, the tasks that are held, and how they are let go."""

import msgspec


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Why dispatch is paused, as it was when the backup took the database's place.

    Attributes:
        newest_at: The time of the newest row. What happened since is not in the database.
        sending: Tasks that were being sent when the backup was made; they are unknown now.
        held: Tasks that were unfinished in it, and may have been sent since.
        scheduled: Tasks that were not due before the restore; they wait for their time.
        operations: Bulk requests that were under way; they are given up.
        replaced: Where the database is that was there before; None if there was none.
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
    left_out: tuple[str, ...] = ()
