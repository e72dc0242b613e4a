"""Python's garbage collector, kept out of the way of a process that many wait for."""

import gc

NEW_OBJECTS = 10_000  # requests in flight keep a few thousand; Python's own 700 have it search among those all the time


def settle_garbage() -> None:
    """Leave what has been made so far alone for ever, and search for cycles among `NEW_OBJECTS` at a time.

    A full collection goes through every object of every module, and everybody waits for it: 20 to 50 ms each time.
    """
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
