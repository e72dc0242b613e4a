"""Tunes Python's garbage collector, so that it rarely delays requests."""

import gc

NEW_OBJECTS = 10_000  # running requests hold a few thousand; with Python's default of 700 it would run all the time


def freeze_garbage() -> None:
    """Exclude all existing objects from collection, and collect only after `NEW_OBJECTS` new ones.

    A full collection visits every object of every module, and stops the process for 20 to 50 ms.
    """
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
