"""The time Everpost has run, counted in small steps, so that a wrong clock cannot make anything seem old.

Each worker counts a step every `STEP_S` seconds and stores its clocks in the database, as `everpost_meta.clock`, for
the next worker. Data with a lifetime in hours is kept for that many hours of this time. A process that starts with its
clock a day ahead adds a step, not a day. Time in which no worker runs is not counted.
"""

import msgspec

from everpost.clock import SinceBoot

STEP_S = 60.0
LONGEST_STEP_MS = 2 * round(STEP_S * 1000)  # the most a late worker counts
TRUSTED_MS = 3_600_000  # a wall clock that was steady for this long is trusted
STEADY_MS = 5_000  # a wall clock that gains or loses at most this much in a step is steady


class ClockMark(msgspec.Struct, frozen=True, kw_only=True):
    """What the last worker saw and counted.

    Attributes:
        boot: The boot of the host, as in `SinceBoot`.
        boot_ms: The time since that boot.
        wall_ms: The wall clock, UTC milliseconds.
        highest_ms: The highest wall time since the clock was last steady for `TRUSTED_MS`; a lower time means that the
            clock was set back.
        counted_ms: The running time; it never shrinks.
        steady_ms: For how much of the running time, up to now, the wall clock has not jumped.
    """

    boot: str
    boot_ms: int
    wall_ms: int
    highest_ms: int
    counted_ms: int = 0
    steady_ms: int = 0

    @property
    def is_trusted(self) -> bool:
        """Whether the wall clock is trusted, so that tasks may be archived by their age."""
        return self.steady_ms >= TRUSTED_MS


def count_step(mark: ClockMark | None, wall_ms: int, since_boot: SinceBoot) -> ClockMark:
    """The mark after one more step. The first step after a boot adds no time; a clock's jump resets `steady_ms`."""
    counted_ms = mark.counted_ms if mark is not None else 0
    steady_ms = 0
    if mark is not None and mark.boot == since_boot.boot:
        elapsed_ms = since_boot.ms - mark.boot_ms
        step_ms = min(max(elapsed_ms, 0), LONGEST_STEP_MS)
        counted_ms += step_ms
        if step_ms == elapsed_ms and abs(wall_ms - mark.wall_ms - elapsed_ms) <= STEADY_MS:
            steady_ms = mark.steady_ms + step_ms
    was_high = mark is not None and steady_ms < TRUSTED_MS and mark.highest_ms > wall_ms
    return ClockMark(
        boot=since_boot.boot,
        boot_ms=since_boot.ms,
        wall_ms=wall_ms,
        highest_ms=mark.highest_ms if mark is not None and was_high else wall_ms,
        counted_ms=counted_ms,
        steady_ms=steady_ms,
    )


def read_mark(text: str | None) -> ClockMark | None:
    """The stored mark; None if no mark is stored, or if it cannot be read."""
    try:
        return None if text is None else msgspec.json.decode(text, type=ClockMark)
    except msgspec.DecodeError:
        return None
