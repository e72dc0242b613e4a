"""Tunes Python's garbage collector, so that it delays neither starts nor requests."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

NEW_OBJECTS = 10_000  # running requests hold a few thousand; with Python's default of 700 it would run all the time


def freeze_garbage() -> None:
    """Exclude all existing objects from collection, and collect only after `NEW_OBJECTS` new ones.

    A full collection visits every object of every module, and stops the process for 20 to 50 ms.
    """
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)


@contextmanager
def without_collection() -> Iterator[None]:
    """Collect nothing meanwhile: for imports, a tenth of whose time it takes, and other work whose objects stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
