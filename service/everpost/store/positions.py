"""Positions and retry chains, made from a store's rows."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from everpost.task.candidate import Candidate, StoredData
from everpost.task.model import HELD
from everpost.task.place import Place, Position

Chains = Mapping[str, Sequence[Position]]
"""All tasks of each chain; without empty chains."""

Found = Mapping[str, tuple[Position, int]]
"""The position of each task, and the size of its data."""

PLACES = {place.value: place for place in Place}


def position_of(
    task_id: str,
    place: str,
    status: str | None,
    chain_id: str | None,
    generation: int | None,
    accepted_by: str | None = None,
    sending: int | None = None,
    calls_back: int | None = None,
    submitted_by: str | None = None,
) -> Position:
    """The position of a row; `accepted_by` and `sending` are the ledger's."""
    return Position(
        task_id=task_id,
        place=PLACES[place],
        status=status or "",
        chain_id=chain_id or task_id,
        generation=generation or 0,
        inherited=accepted_by is None and place == Place.LEDGER,
        sending=sending is not None,
        held=sending == HELD,
        calls_back=bool(calls_back),
        submitted_by=submitted_by,
    )


def chains_of(positions: Iterable[Position]) -> Chains:
    """The positions by their chains."""
    chains: dict[str, list[Position]] = {}
    for position in positions:
        chains.setdefault(position.chain_id, []).append(position)
    return chains


def relatives_of(task_id: str, position: Position | None, chain: Iterable[Position]) -> list[Position]:
    """The other tasks of its chain. If it has ended, other rows with its id are among them: there may be several."""
    return [
        other for other in chain if other.task_id != task_id or (other.place is not Place.LEDGER and other != position)
    ]


def chain_ids_of(task_ids: Iterable[str], found: Found) -> set[str]:
    """The chains that the tasks are in; a task that was not found may be the first one of a chain."""
    return {found[task_id][0].chain_id if task_id in found else task_id for task_id in task_ids}


def candidates_of(
    task_ids: Sequence[str],
    found: Found,
    chains: Chains = MappingProxyType({}),
    data: Mapping[str, StoredData] = MappingProxyType({}),
) -> list[Candidate]:
    """The tasks in the order of their ids."""
    candidates = []
    for task_id in task_ids:
        position, size_bytes = found.get(task_id, (None, 0))
        chain = chains.get(task_id if position is None else position.chain_id, ())
        candidates.append(
            Candidate(
                task_id=task_id,
                position=position,
                size_bytes=size_bytes,
                relatives=relatives_of(task_id, position, chain),
                data=data.get(task_id),
            )
        )
    return candidates
