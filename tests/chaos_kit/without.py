"""Runs a program of Everpost's without one of its guards, so that a test sees that its checks find what then happens.

python -m chaos_kit.without GUARD MODULE ARGUMENTS...
"""

import runpy
import sys
from collections.abc import Callable, Mapping
from unittest.mock import AsyncMock, patch

from everpost.store.postgresql.care import lineage
from everpost_workers.attempts.intents import Intents


def without_pause() -> None:
    """A promotion that may have lost commits pauses nothing."""
    patch.object(lineage, "may_lack_commits", return_value=False).start()


def without_fencing() -> None:
    """A worker sends without an intent in the database, so another worker that takes its task over sends too."""
    patch.object(Intents, "_begin", AsyncMock(return_value=True)).start()


GUARDS: Mapping[str, Callable[[], None]] = {"pause": without_pause, "fencing": without_fencing}


def main() -> None:
    _, guard, module, *arguments = sys.argv
    GUARDS[guard]()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
