"""Processes that Everpost starts, and what is said of one that does not become ready."""

import sys
from pathlib import Path

import pytest

from everpost.children import Child, wait_for_log


class EndingAtOnce(Child):
    """A child that ends while its parent asks whether it lives."""

    @property
    def exit_code(self) -> int | None:
        return self.process.wait()


async def test_the_last_words_of_a_process_that_does_not_become_ready_are_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = EndingAtOnce([sys.executable, "-c", "raise SystemExit('no room')"], output=output)
    with pytest.raises(TimeoutError, match="ended with 1: no room"):
        await wait_for_log(log, b"ready", child, 20)
