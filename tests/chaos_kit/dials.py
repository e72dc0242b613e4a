"""What a person chooses for `make chaos`: the seed of its choices, how long its long scenes are, the release before."""

import os
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

LONG_S = 60
SEED = int(os.environ.get("EVERPOST_CHAOS_SEED") or 20_260)
PREVIOUS = os.environ.get("EVERPOST_CHAOS_PREVIOUS", "")
SECONDS = float(os.environ.get("EVERPOST_CHAOS_SECONDS") or 30)
"""About this time for each long scene. From `LONG_S` on, every case of `some` is run."""


def some(cases: Sequence[T], count: int) -> Sequence[T]:
    """As many of the cases, which the seed chooses: for variants that another store runs all of."""
    return cases if SECONDS >= LONG_S else random.Random(SEED).sample(cases, min(count, len(cases)))
