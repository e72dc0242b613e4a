"""The garbage collector of a long-lived process."""

import gc

from everpost.garbage import NEW_OBJECTS, freeze_garbage


def test_objects_made_at_start_up_are_never_searched_again() -> None:
    before = gc.get_threshold()
    try:
        freeze_garbage()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] == NEW_OBJECTS
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
