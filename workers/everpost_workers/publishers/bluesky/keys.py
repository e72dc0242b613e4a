"""The record key of a post: the same for every attempt of a task, so that a post can only be written once."""

import hashlib
from uuid import UUID

ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"  # base32-sortable, https://atproto.com/specs/tid
DIGITS = 13
HASHED_BITS = 46  # the lowest: 36 of the time, and the 10 of the clock's id
CLOCK_BITS = 10
TIME_BITS = 53
UUID_VERSION = 7


def record_key(idempotency_key: str, task_id: str) -> str:
    """A TID, which the lexicon of posts asks for: microseconds and a clock's id.

    The lowest 46 bits are a digest of the idempotency key. The others are the time when the task was accepted, rounded
    down to 19 hours and moved back by 19 hours, so that the key is never in the future. Two tasks of one account get
    the same key only if they were accepted within the same 19 hours, with a probability of 2^-46; the publisher notices
    that, and never overwrites a post.

    Args:
        task_id: A UUIDv7 in hexadecimal digits; for other ids, which stock arq clients chose, the digest replaces the
            time too.
    """
    digest = int.from_bytes(hashlib.sha256(f"bluesky:{idempotency_key}".encode()).digest()[:8])
    accepted_us = _accepted_us(task_id)
    if accepted_us is None:
        return _encode(digest >> 1)
    period_bits = HASHED_BITS - CLOCK_BITS
    period = max((accepted_us >> period_bits) - 1, 0)
    return _encode((period << HASHED_BITS) | (digest & ((1 << HASHED_BITS) - 1)))


def _accepted_us(task_id: str) -> int | None:
    try:
        uuid = UUID(hex=task_id)
    except ValueError:
        return None
    accepted_us = (uuid.int >> 80) * 1_000
    return accepted_us if uuid.version == UUID_VERSION and accepted_us < 1 << TIME_BITS else None


def _encode(value: int) -> str:
    value &= (1 << 63) - 1
    return "".join(ALPHABET[(value >> (5 * place)) & 31] for place in reversed(range(DIGITS)))
