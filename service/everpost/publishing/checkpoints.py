"""What a publisher keeps with its task while it sends: checkpoints, and how far it has come."""

import math
from typing import Any

import msgspec

MOST_BYTES = 65_536  # of a checkpoint's JSON
DEEPEST = 32  # levels of nested objects and arrays
INT_BITS = 64
MOST_COUNTED = 1 << 63

_encode = msgspec.json.Encoder().encode


class CheckpointError(ValueError):
    """The data cannot be a checkpoint: it is no JSON, is too large or too deep, or has the character NUL."""


class JobKeeper:
    """Where a job's checkpoints and progress go. This one keeps nothing: it is for tests that make their own jobs."""

    async def keep(self, checkpoint: bytes) -> None:
        """Save a checkpoint, as JSON; it is durable when this returns.

        Raises:
            OvertakenError: The attempt may not save it, and must stop sending.
        """

    def show(self, done: float, total: float | None) -> None:
        """Show how far the attempt has come."""


def counted(value: object) -> float | None:
    """A publisher's count of what it has done; None if it is not a number from 0 on, which must not fail a post."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if 0 <= value < MOST_COUNTED else None  # this is False for NaN


def encode_checkpoint(data: Any) -> bytes:
    """The JSON of a checkpoint.

    Raises:
        CheckpointError: It is not JSON, or exceeds a limit; the message names the path.
    """
    _check(data, "$", DEEPEST, [MOST_BYTES])
    try:
        checkpoint = _encode(data)
    except UnicodeEncodeError as error:
        raise CheckpointError(f"A checkpoint has a text that is not Unicode: {error.reason}.") from error
    if len(checkpoint) > MOST_BYTES:
        raise CheckpointError(f"A checkpoint has {len(checkpoint):,} bytes of JSON; {MOST_BYTES:,} are allowed.")
    return checkpoint


def _check(value: Any, path: str, levels: int, room: list[int]) -> None:
    """Walk through the values. Each takes a byte at least, so the walk is short, whatever the publisher gives."""
    room[0] -= 1
    if room[0] < 0:
        raise CheckpointError(f"A checkpoint has more than {MOST_BYTES:,} bytes of JSON.")
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, int):
        if value.bit_length() >= INT_BITS:
            raise CheckpointError(f"A checkpoint has an integer of more than {INT_BITS} bits at {path}; use a text.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise CheckpointError(f"A checkpoint has {value} at {path}, which JSON does not have.")
    elif isinstance(value, dict | list | tuple):
        _check_members(value, path, levels, room)
    elif value is not None:
        raise CheckpointError(f"A checkpoint has a value of type {type(value).__name__} at {path}, which is not JSON.")


def _check_members(value: Any, path: str, levels: int, room: list[int]) -> None:
    if levels == 0:
        raise CheckpointError(f"A checkpoint is nested more than {DEEPEST} deep.")
    if not isinstance(value, dict):
        for number, item in enumerate(value):
            _check(item, f"{path}[{number}]", levels - 1, room)
        return
    for key, item in value.items():
        if not isinstance(key, str):
            raise CheckpointError(
                f"A checkpoint has a key of type {type(key).__name__} at {path}; JSON has texts only."
            )
        _check_text(key, path)
        _check(item, f"{path}.{key}", levels - 1, room)


def _check_text(text: str, path: str) -> None:
    if "\0" in text:
        raise CheckpointError(f"A checkpoint has the character NUL at {path}.")
