"""The three places a task can be in, and the facts a rule gets about a task there."""

from enum import StrEnum

import msgspec


class Place(StrEnum):
    """Where a store keeps a task. Each task is in exactly one place (I1)."""

    LEDGER = "ledger"  # accepted, and not ended
    HISTORY = "history"  # ended
    ARCHIVE = "archive"  # ended and archived


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """The place and state of a task.

    Attributes:
        status: The stored one; an original file may hold any text.
        inherited: A row of an original file, which no worker runs unless it is retried.
        sending: An attempt's intent to send is recorded.
        held: It was unfinished in a restored backup, and dispatch has not been resumed.
        submitted_by: The name of the caller that submitted it, or the first task of its chain.
        calls_back: Its end is told to a `callback_url`: its own, or its batch's.
    """

    task_id: str
    place: Place
    status: str
    chain_id: str
    generation: int = 0
    inherited: bool = False
    sending: bool = False
    held: bool = False
    calls_back: bool = False
    submitted_by: str | None = None
