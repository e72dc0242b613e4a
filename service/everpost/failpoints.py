"""Failpoints: named points of a task's way at which tests kill, stop or fail a process; docs/failpoints.md lists them.

`EVERPOST_FAILPOINTS` names a folder. A test puts a file there that is named like a point and holds an action. The next
process that reaches the point carries out the action, once. Without the setting, a point only tests one variable.
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
    """What a process does at a point."""

    KILL = "kill"  # like kill -9
    PAUSE = "pause"  # stop this thread until the file NAME.hit is removed
    RAISE = "raise"


class FailpointHit(Exception):
    """Raised at a point; the argument is the point's name."""


def watch_failpoints(folder: Path | None) -> None:
    """Look for actions in `folder` from now on; None turns failpoints off."""
    global _folder  # noqa: PLW0603 - points are everywhere, and must cost nothing when off
    _folder = folder


def failpoint(name: str) -> None:
    """The point `name`: carries out the action a test has put there, if any."""
    if _folder is not None:
        _reach(_folder / name)


def _reach(point: Path) -> None:
    hit = hit_of(point)
    with suppress(FileNotFoundError):  # there is no action, or another process was first
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
    """The name an action's file gets when its point is reached."""
    return point.with_name(f"{point.name}.hit")
