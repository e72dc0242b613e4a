"""Named points of a task's way at which tests kill, stop or fail a process; docs/failpoints.md lists them.

`EVERPOST_FAILPOINTS` names a folder. Whoever puts a file there, named like a point and holding an action, has the
process that next comes to this point do it, once. Without the setting a point is the test of one variable.
"""

import os
import signal
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

PAUSE_POLL_S = 0.01

_folder: Path | None = None


class Action(StrEnum):
    """What is done at a point."""

    KILL = "kill"  # as kill -9 does
    PAUSE = "pause"  # stop this thread, until the file NAME.hit is removed
    RAISE = "raise"


class FailpointHit(Exception):
    """Raised at the point that is its argument."""


def watch_failpoints(folder: Path | None) -> None:
    """Look for actions in `folder` from now on; None looks nowhere."""
    global _folder  # noqa: PLW0603 - a point is anywhere, and must cost nothing when off
    _folder = folder


def failpoint(name: str) -> None:
    """The point `name`: does nothing, unless somebody has put an action there."""
    if _folder is not None:
        _reach(_folder / name)


def _reach(point: Path) -> None:
    hit = hit_of(point)
    with suppress(FileNotFoundError):  # nobody asked, or another process was first
        point.rename(hit)
        _act(Action(hit.read_text(encoding="ascii")), hit)


def _act(action: Action, hit: Path) -> None:
    if action is Action.KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    if action is Action.RAISE:
        raise FailpointHit(hit.stem)  # the name of the point
    while hit.exists():
        time.sleep(PAUSE_POLL_S)


def hit_of(point: Path) -> Path:
    """What an action's file is renamed to when its point is reached."""
    return point.with_name(f"{point.name}.hit")
