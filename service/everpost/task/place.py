"""The three places a task can be in, and what a rule is told of a task there."""

from enum import StrEnum

import msgspec


class Place(StrEnum):
    """Where a store keeps a task. Each task is in exactly one place (I1)."""

    LEDGER = "ledger"  # accepted, and not ended
    HISTORY = "history"  # ended
    ARCHIVE = "archive"  # ended, and put away


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task lies and how it stands.

    Attributes:
        status: As stored; an original file may hold any text.
        inherited: A row of an original file, which no worker of ours ever runs by itself.
        sending: An attempt's intent to send is on record.
        held: It was unfinished in a restored backup, and nobody has resumed dispatch since.
    """

    task_id: str
    place: Place
    status: str
    chain_id: str
    generation: int = 0
    inherited: bool = False
    sending: bool = False
    held: bool = False
