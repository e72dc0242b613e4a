"""Batches as named values of a row, and the newest tasks of retry chains; for any store."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from everpost.store.batches import Batch, BatchKind, BatchSummary, ChainEnd
from everpost.store.history import is_reached
from everpost.task.duplicate_rules import Guard, RecentPost
from everpost.task.fanout_rules import FanoutItem
from everpost.task.model import Task
from everpost.task.place import Place


def batch_row(batch: Batch, tasks: Sequence[Task]) -> dict[str, Any]:
    """The row of a batch that begins with `tasks`."""
    items = batch.items or [FanoutItem(index=number, task_id=task.task_id) for number, task in enumerate(tasks)]
    return msgspec.structs.asdict(batch) | {"items": msgspec.json.encode(items).decode()}


def batch_of(row: Mapping[str, Any]) -> Batch:
    """The batch of a row."""
    items = msgspec.json.decode(row["items"] or "[]", type=list[FanoutItem])
    return Batch(**{**row, "kind": BatchKind(row["kind"]), "items": items})


def recent_rows(guards: Mapping[str, Guard]) -> list[dict[str, Any]]:
    """The rows by which later tasks are compared with these. A retry replaces the row of its chain."""
    return [
        {
            "digest": guard.digest,
            "task_id": guard.chain_id or task_id,
            "at_ms": guard.at_ms,
            "until_ms": guard.at_ms + guard.window_ms,
        }
        for task_id, guard in guards.items()
    ]


def recent_posts(rows: Iterable[Mapping[str, Any]], ends: Iterable[ChainEnd]) -> list[RecentPost]:
    """The earlier tasks of rows, each with the status of its retry chain; the latest last."""
    statuses = {end.chain_id: end.status for end in ends}
    posts = [RecentPost(row["digest"], row["task_id"], row["at_ms"], statuses.get(row["task_id"])) for row in rows]
    return sorted(posts, key=lambda post: (post.at_ms, post.task_id))


def chains_of(batch: Batch) -> list[str]:
    """The retry chains of a fan-out, by their first tasks."""
    return [item.task_id for item in batch.items if item.task_id is not None]


def newest_of_chains(rows: Iterable[Mapping[str, Any]]) -> list[ChainEnd]:
    """The newest task of each chain. A row of the ledger is newer than an ended one of the same generation."""
    newest: dict[str, ChainEnd] = {}
    for row in rows:
        place, generation = Place(row["place"]), row["generation"] or 0
        known = newest.get(row["chain_id"])
        if known is None or (generation, place is Place.LEDGER) > (known.generation, known.place is Place.LEDGER):
            newest[row["chain_id"]] = ChainEnd(
                **{**row, "place": place, "generation": generation, "status": row["status"] or ""}
            )
    return list(newest.values())


def summary_of(
    batch_id: str, kind: str, found: Sequence[Mapping[str, Any]], most: int, reach: Sequence[str] | None = None
) -> BatchSummary:
    """A batch with some of its tasks, or those of them in `reach`; `most` is up to how many were read of each place."""
    counts: dict[str, int] = {}
    tasks = found if reach is None else [one for one in found if is_reached(reach, one["platform"], one["account_id"])]
    for task in tasks:
        status = task["status"] or ""
        counts[status] = counts.get(status, 0) + 1
    first = min(tasks, key=lambda task: task["created_at"] or "", default=None)
    return BatchSummary(
        batch_id=batch_id,
        kind=kind,
        title=first["title"] if first else None,
        platform=first["platform"] if first else None,
        created_at=first["created_at"] if first else None,
        counts=counts,
        is_exact=len(found) < most,
    )
