"""Positions and retry chains, made from a store's rows."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from everpost.store.changes import Candidate, StoredData
from everpost.task.model import HELD
from everpost.task.place import Place, Position

Chains = Mapping[str, Sequence[Position]]
"""All tasks of each chain; without empty chains."""


def position_of(
    task_id: str,
    place: str,
    status: str | None,
    chain_id: str | None,
    generation: int | None,
    accepted_by: str | None = None,
    sending: int | None = None,
) -> Position:
    """The position of a row; `accepted_by` and `sending` are the ledger's."""
    return Position(
        task_id=task_id,
        place=Place(place),
        status=status or "",
        chain_id=chain_id or task_id,
        generation=generation or 0,
        inherited=place == Place.LEDGER and accepted_by is None,
        sending=sending is not None,
        held=sending == HELD,
    )


def chains_of(positions: Iterable[Position]) -> Chains:
    """The positions by their chains."""
    chains: dict[str, list[Position]] = {}
    for position in positions:
        chains.setdefault(position.chain_id, []).append(position)
    return chains


def relatives_of(task: Position, chains: Chains) -> list[Position]:
    """The other tasks of its chain. If the task has ended, rows with its id are among them: there may be several."""
    chain = chains.get(task.chain_id, ())
    return [other for other in chain if other.task_id != task.task_id or other.place is not Place.LEDGER]


def candidates_of(
    task_ids: Sequence[str],
    found: Mapping[str, tuple[Position, int]],
    chains: Chains = MappingProxyType({}),
    data: Mapping[str, StoredData] = MappingProxyType({}),
) -> list[Candidate]:
    """The tasks in the order of their ids; `found` has the position and the size of each."""
    candidates = []
    for task_id in task_ids:
        position, size_bytes = found.get(task_id, (None, 0))
        relatives = relatives_of(position, chains) if position is not None else ()
        candidates.append(
            Candidate(
                task_id=task_id,
                position=position,
                size_bytes=size_bytes,
                relatives=relatives,
                data=data.get(task_id),
            )
        )
    return candidates
