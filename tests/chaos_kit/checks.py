"""The checks after a fault, once everything is healed and drained: first the facts, then a verdict."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis

from chaos_kit.effects_worker import Effect
from everpost.publishing import PublisherClass
from everpost.queue.keys import QUEUE_NAMES
from everpost.task.model import ErrorClass, TaskStatus
from everpost.task.place import Place
from store_kit import StoredTask

ORPHANS = ("arq:job:*", "arq:in-progress:*", "arq:retry:*")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts for the verdict.

    Attributes:
        posted: The body of every post, by marker.
        acked: The marker of every acknowledged post, by task id.
        effects: What the platform accepted, in order.
        counted: The store's counts of tasks by place.
        faults: The faults the store finds in its own data.
        left_over: Keys that should be gone from Redis.
        struck_at: When faults struck, in order.
        answers: Answers that no client should get.
        may_lack_data: Tasks may be recorded without their data: the database lost them, and Redis has their outcome.
    """

    posted: Mapping[str, Any]
    acked: Mapping[str, str]
    rows: Sequence[StoredTask]
    effects: Sequence[Effect]
    counted: Mapping[Place, int]
    faults: Sequence[str] = ()
    left_over: Sequence[str] = ()
    answers: Sequence[str] = ()
    struck_at: Sequence[str] = ()
    may_lack_data: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to the posts, in Jepsen's words.

    Attributes:
        lost: Acknowledged posts that are in no place.
        duplicated: Posts the platform accepted more than once without a person's decision, and requests that became two
            tasks.
        unknown: How many ended as unknown, which is allowed if the publisher declares nothing.
        recovered: How many were in flight when a fault struck, and were published.
        unanswered: How many are recorded although their client never got its answer.
        unexpected: Everything else that must never happen, in words.
    """

    lost: list[str]
    duplicated: list[str]
    unknown: int
    recovered: int
    unanswered: int
    unexpected: list[str]

    @property
    def is_good(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.duplicated or self.unexpected)


def verdict_of(facts: Facts, publisher_class: PublisherClass) -> Verdict:
    """The verdict on the facts."""
    recorded = {row.task_id for row in facts.rows}
    effects = Counter(effect.task_id for effect in facts.effects)
    originals = [row for row in facts.rows if row.retry_of is None and not (facts.may_lack_data and row.data is None)]
    per_marker = Counter(map(_marker, originals))
    duplicated = [f"{marker} became {count} tasks" for marker, count in per_marker.items() if count > 1]
    if not publisher_class.may_rerun:
        duplicated += [f"{task_id} was sent {count} times" for task_id, count in effects.items() if count > 1]
    return Verdict(
        lost=sorted(set(facts.acked) - recorded),
        duplicated=duplicated,
        unknown=sum(row.status == TaskStatus.UNKNOWN for row in facts.rows),
        recovered=sum(_outlived_a_fault(row, facts.struck_at) for row in facts.rows),
        unanswered=sum(_is_unanswered(row, facts) for row in facts.rows),
        unexpected=[
            *facts.answers,
            *facts.left_over,
            *facts.faults,
            *_misplaced(facts),
            *_altered(facts),
            *_untrue(facts, effects, publisher_class),
        ],
    )


def _misplaced(facts: Facts) -> list[str]:
    """I1: each task is in exactly one place, and none is unfinished."""
    places = Counter(row.task_id for row in facts.rows)
    per_place = Counter(row.place for row in facts.rows if row.place is not Place.ARCHIVE)  # the archive is not counted
    return [
        *(f"{task_id} stands in {count} places" for task_id, count in places.items() if count > 1),
        *(f"{row.task_id} is open: {row.status}" for row in facts.rows if row.place is Place.LEDGER),
        *([f"counted {dict(facts.counted)}, there are {dict(per_place)}"] if per_place != facts.counted else []),
    ]


def _altered(facts: Facts) -> list[str]:
    """I4, and no task without a post."""
    return [
        f"{row.task_id} holds what no client posted"
        if _marker(row) not in facts.posted
        else f"{row.task_id} was altered"
        for row in facts.rows
        if facts.posted.get(_marker(row)) != row.data
    ]


def _untrue(facts: Facts, effects: Mapping[str, int], publisher_class: PublisherClass) -> list[str]:
    """I6: compares each row with what the platform says."""
    keys: dict[str, set[str]] = {}
    for effect in facts.effects:
        keys.setdefault(effect.task_id, set()).add(effect.key)
    found = [f"{task_id} was sent with {len(sent)} keys" for task_id, sent in keys.items() if len(sent) > 1]
    found += [
        f"{task_id} was sent and is not recorded" for task_id in set(effects) - {row.task_id for row in facts.rows}
    ]
    for row in facts.rows:
        if row.status == TaskStatus.SUCCESS and not effects.get(row.task_id):
            found.append(f"{row.task_id} is called a success and was never sent")
        if row.status in {TaskStatus.FAILED, TaskStatus.CANCELLED} and effects.get(row.task_id):
            found.append(f"{row.task_id} is called {row.status} ({row.error_class}) and was sent")
        is_given_up = row.error_class == ErrorClass.CRASHED  # three workers died while they ran it
        if row.status == TaskStatus.UNKNOWN and publisher_class is PublisherClass.LOCAL and not is_given_up:
            found.append(f"{row.task_id} is unknown although it may be run again")
    return found


def _outlived_a_fault(row: StoredTask, struck_at: Sequence[str]) -> bool:
    if row.status != TaskStatus.SUCCESS or not row.created_at or not row.completed_at:
        return False
    return bisect_left(struck_at, row.created_at) < bisect_left(struck_at, row.completed_at)


def _is_unanswered(row: StoredTask, facts: Facts) -> bool:
    return row.retry_of is None and row.task_id not in facts.acked and _marker(row) in facts.posted


def _marker(row: StoredTask) -> str:
    return str(row.data.get("marker")) if isinstance(row.data, dict) else ""


def read_effects(path: Path) -> list[Effect]:
    """What the platform accepted; empty if it was never called."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Effect) for line in lines]


def count_effects(path: Path) -> int:
    """The number of effects; far cheaper than reading them."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


async def find_left_over(redis: "Redis") -> list[str]:
    """What Redis still has of ended tasks, except their results."""
    found = [f"{name} has {depth}" for name in QUEUE_NAMES if (depth := await redis.zcard(name))]
    if aborts := await redis.zcard("arq:abort"):
        found.append(f"arq:abort has {aborts}")
    for pattern in ORPHANS:
        found += [key.decode() async for key in redis.scan_iter(pattern, count=1000)]
    return found
