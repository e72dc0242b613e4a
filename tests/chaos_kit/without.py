"""Runs a program of Everpost's without one of its guards, so that a test sees that its checks find what then happens.

python -m chaos_kit.without GUARD MODULE ARGUMENTS...
"""

import runpy
import sys
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import AsyncMock, patch

from everpost_workers.attempts.attempt import AttemptState
from everpost_workers.attempts.intents import Intents
from everpost_workers.attempts.runner import AttemptRunner
from postgresql.unguarded import without_pause


def without_fencing() -> None:
    """A worker sends without a lease and an intent, so another worker that takes its task over sends too."""
    without_intents()
    publish = AttemptRunner.publish

    async def publish_anyway(runner: AttemptRunner, state: AttemptState, arguments: Mapping[str, Any]) -> Any:
        state.holds_lease = lambda: True
        return await publish(runner, state, arguments)

    patch.object(AttemptRunner, "publish", publish_anyway).start()


def without_intents() -> None:
    """A worker sends without an intent in the database: only its lease shows that the task is its own."""
    patch.object(Intents, "_begin", AsyncMock(return_value=True)).start()


GUARDS: Mapping[str, Callable[[], None]] = {
    "pause": without_pause,
    "fencing": without_fencing,
    "intents": without_intents,
}


def main() -> None:
    _, guard, module, *arguments = sys.argv
    GUARDS[guard]()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
