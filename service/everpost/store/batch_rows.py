"""Batches as named values of a row, and the newest tasks of retry chains; for any store."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from everpost.store.batches import Batch, BatchKind, ChainEnd
from everpost.task.fanout_rules import FanoutItem
from everpost.task.place import Place


def batch_row(batch: Batch) -> dict[str, Any]:
    """The row of a batch."""
    return msgspec.structs.asdict(batch) | {"items": msgspec.json.encode(batch.items).decode()}


def batch_of(row: Mapping[str, Any]) -> Batch:
    """The batch of a row."""
    items = msgspec.json.decode(row["items"] or "[]", type=list[FanoutItem])
    return Batch(**{**row, "kind": BatchKind(row["kind"]), "items": items})


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
