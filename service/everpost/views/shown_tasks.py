"""Tasks in the form of answers. Only places have other names: clients know the tables of the original system."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import asdict

from everpost.queue.progress import Progress
from everpost.store import history
from everpost.task import place as places
from everpost.task.holds import WaitsFor
from everpost.task.model import TaskStatus


class Place(StrEnum):
    """A task's place: `task_queue` is the ledger, `publish_tasks` the history, `publish_tasks_archive` the archive."""

    LEDGER = "task_queue"
    HISTORY = "publish_tasks"
    ARCHIVE = "publish_tasks_archive"


NAMES = {place: Place[place.name] for place in places.Place}

# These classes only describe answers, so it does not matter that a field's type differs from the port's.


class TaskRow(history.TaskRow, frozen=True, kw_only=True):
    """A task in a list. Times are UTC text; see `everpost.store.history.TaskRow`.

    Attributes:
        waits_for: The limit, pause or hold that a due task waits for; None if it waits for its turn only.
    """

    place: Place  # type: ignore[assignment]
    waits_for: WaitsFor | None = None


class Retry(history.KnownRetry, frozen=True):
    """A task that retries another."""

    place: Place  # type: ignore[assignment]


class IdMatch(history.IdMatch, frozen=True):
    """A task's id, with what distinguishes it from other ids with the same beginning; `status` is the stored one."""

    place: Place  # type: ignore[assignment]


class TaskDetail(history.TaskDetail, frozen=True, kw_only=True):
    """A task. Times are UTC text; see `everpost.store.history.TaskDetail`.

    Attributes:
        progress: That of a running attempt.
        waits_for: The limit, pause or hold that a due task waits for; None if it waits for its turn only.
    """

    place: Place  # type: ignore[assignment]
    retries: Sequence[Retry] = ()
    progress: Progress | None = None
    waits_for: WaitsFor | None = None


def row_view(row: history.TaskRow, *, is_running: bool = False, waits_for: WaitsFor | None = None) -> TaskRow:
    """The row in the form of lists; `is_running` says that a worker holds the task."""
    fields = asdict(row)
    fields["place"] = NAMES[row.place]
    if is_running:
        fields["status"] = TaskStatus.RUNNING
    if waits_for is not None:
        fields["waits_for"] = waits_for
    return TaskRow(**fields)


def id_view(match: history.IdMatch) -> IdMatch:
    """The id in the form of answers."""
    return IdMatch(**{**asdict(match), "place": NAMES[match.place]})


def detail_view(
    task: history.TaskDetail,
    *,
    is_running: bool = False,
    progress: Progress | None = None,
    waits_for: WaitsFor | None = None,
) -> TaskDetail:
    """The task in the form of answers; `is_running` says that a worker holds it."""
    status = TaskStatus.RUNNING if is_running else task.status
    retries = [Retry(**{**asdict(retry), "place": NAMES[retry.place]}) for retry in task.retries]
    shown = {"place": NAMES[task.place], "retries": retries, "status": status}
    return TaskDetail(**asdict(task) | shown, progress=progress, waits_for=waits_for)


def decoded(data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A task's data with its members decoded."""
    if data is None:
        return None
    return {
        name: msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value for name, value in data.items()
    }
