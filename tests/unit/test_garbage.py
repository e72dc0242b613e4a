"""The garbage collector of a long-lived process."""

import gc
import subprocess
import sys

import pytest

from everpost.garbage import NEW_OBJECTS, freeze_garbage, without_collection


def test_objects_made_at_start_up_are_never_searched_again() -> None:
    before = gc.get_threshold()
    try:
        freeze_garbage()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] == NEW_OBJECTS
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_nothing_is_collected_meanwhile_and_afterwards_as_before() -> None:
    with without_collection():
        assert not gc.isenabled()
        with without_collection():
            """An inner one does not end the outer one."""
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.parametrize("program", ["everpost.cli.__main__", "everpost_workers.__main__"])
def test_programs_are_loaded_without_collection_and_run_with_it(program: str) -> None:
    """Each generation of the collector counts its runs."""
    count = "import gc, sys; from everpost import cli; before = gc.get_stats()[0]['collections']; "
    load = "cli.everpost.get_command(None, 'list')" if "cli" in program else "import everpost_workers.__main__"
    told = "; sys.stdout.write(f\"{gc.get_stats()[0]['collections'] - before} {gc.isenabled()}\")"
    done = subprocess.run([sys.executable, "-c", count + load + told], capture_output=True, text=True, check=True)
    assert done.stdout in {"0 True", "1 True", "2 True"}  # one may be due before it is stopped, and one afterwards
