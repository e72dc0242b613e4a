"""Tasks in answers: the store's data, combined with what only Redis knows, if it answers."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import pytest

from everpost.errors import QueueUnreachable, TaskNotFound
from everpost.queue.gates import Gates, Looked, Whereabouts
from everpost.queue.jobs import Jobs
from everpost.queue.progress import Progress, ProgressNotes
from everpost.store.history import History, Page, Summary, TaskDetail, TaskFilter, TaskRow, Total
from everpost.store.limits import Limits
from everpost.task.holds import Hold, ScopeState, WaitKind, WaitsFor
from everpost.task.place import Place
from everpost.views.task_views import TaskViews, status_counts
from everpost.views.waiting import EndWaiter

COLUMNS = TaskRow.__struct_fields__


def row(task_id: str, status: str = "pending", place: Place = Place.LEDGER, **columns: Any) -> TaskRow:
    return TaskRow(**{**dict.fromkeys(COLUMNS), "task_id": task_id, "status": status, "place": place, **columns})


class FakeHistory:
    """A store with these rows."""

    def __init__(self, *rows: TaskRow) -> None:
        self.rows = rows

    async def find_task(self, task_id: str) -> TaskDetail | None:
        for one in self.rows:
            if one.task_id == task_id:
                return TaskDetail(task_id=task_id, place=one.place, row=1, status=one.status)
        return None

    async def page(self, wanted: TaskFilter, _: str | None, limit: int, *, counted: bool = False) -> Page:
        found = [one for one in self.rows if wanted.status in {None, one.status}]
        return Page(found[:limit], None, Total(len(found), total_is_exact=True) if counted else None)


class FakeJobs:
    """A Redis whose workers hold these tasks, and in which some wait behind scopes."""

    def __init__(self, *running: str, is_away: bool = False, parked: Mapping[str, str] | None = None) -> None:
        self.running = set(running)
        self.is_away = is_away
        self.parked = {
            task_id: Whereabouts(scope, WaitKind.RATE, 1_000, position)
            for position, (task_id, scope) in enumerate((parked or {}).items())
        }

    async def find(self, task_ids: Sequence[str]) -> Looked:
        if self.is_away:
            raise QueueUnreachable
        parked = {task_id: self.parked[task_id] for task_id in task_ids if task_id in self.parked}
        return Looked(self.running.intersection(task_ids), parked)

    async def queue_position(self, _: str, __: int) -> int:
        if self.is_away:
            raise QueueUnreachable
        return 7


class FakeLimits:
    """A store in which these scopes are held. It counts how often it is asked."""

    def __init__(self, *held: str) -> None:
        hold = Hold(kind=WaitKind.HELD, reason="It asks for a captcha.", since="2026-01-01T00:00:00.000Z")
        self.states = dict.fromkeys(held, ScopeState(hold=hold))
        self.asked = 0

    async def find_states(self, scopes: Collection[str]) -> dict[str, ScopeState]:
        self.asked += 1
        return {scope: self.states[scope] for scope in scopes if scope in self.states}


class FakeProgress:
    """A Redis in which workers say the same of every task."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away = is_away

    async def of_task(self, _: str) -> Progress:
        if self.is_away:
            raise QueueUnreachable
        return Progress(1, 2)


def views(
    history: FakeHistory, jobs: FakeJobs, progress: FakeProgress | None = None, limits: FakeLimits | None = None
) -> TaskViews:
    notes = cast("ProgressNotes", progress or FakeProgress(is_away=jobs.is_away))
    parts = (cast("EndWaiter", None), cast("Gates", jobs), cast("Limits", limits or FakeLimits()))
    return TaskViews(cast("History", history), cast("Jobs", jobs), notes, *parts)


async def test_a_held_task_is_shown_as_running_in_lists_and_alone() -> None:
    shown = views(
        FakeHistory(row("held"), row("waits"), row("ended", "failed", Place.HISTORY)), FakeJobs("held", "ended")
    )
    page = await shown.page(TaskFilter(), None, 10)
    assert [(one.task_id, one.status) for one in page.rows] == [
        ("held", "running"),
        ("waits", "pending"),
        ("ended", "failed"),
    ]
    assert page.total == 3
    held, waits = await shown.show("held"), await shown.show("waits")
    assert (held.task.status, held.queue_position) == ("running", None)
    assert (waits.task.status, waits.queue_position) == ("pending", 7)


async def test_a_list_says_what_its_parked_tasks_wait_for_with_one_look_at_the_holds() -> None:
    limits = FakeLimits("x/held")
    jobs = FakeJobs("runs", parked={"one": "x/held", "two": "x/held", "three": "x"})
    shown = views(FakeHistory(*map(row, ("one", "two", "three", "runs", "turn"))), jobs, limits=limits)
    rows = (await shown.page(TaskFilter(), None, 10)).rows
    held = WaitsFor(kind=WaitKind.HELD, scope="x/held", reason="It asks for a captcha.")
    limited = WaitsFor(kind=WaitKind.RATE, scope="x", until="1970-01-01T00:00:01.000Z")
    assert {one.task_id: one.waits_for for one in rows} == {
        "one": held, "two": held, "three": limited, "runs": None, "turn": None
    }  # fmt: skip
    assert limits.asked == 1
    two = await shown.show("two")
    assert (two.task.waits_for, two.queue_position) == (held, 1)


async def test_a_list_without_parked_tasks_asks_the_store_nothing_more() -> None:
    limits = FakeLimits("x/held")
    await views(FakeHistory(row("turn")), FakeJobs(), limits=limits).page(TaskFilter(), None, 10)
    assert limits.asked == 0


async def test_while_redis_is_away_tasks_are_shown_as_the_store_has_them() -> None:
    shown = views(FakeHistory(row("held"), row("ended", "failed", Place.HISTORY)), FakeJobs("held", is_away=True))
    assert [one.status for one in (await shown.page(TaskFilter(), None, 10)).rows] == ["pending", "failed"]
    task = await shown.show("held")
    assert (task.task.status, task.queue_position) == ("pending", None)
    assert (await shown.show("ended")).queue_position is None


async def test_only_a_running_task_is_shown_with_its_progress_and_only_if_redis_answers() -> None:
    history, jobs = FakeHistory(row("held"), row("waits")), FakeJobs("held")
    assert (await views(history, jobs).show("held")).task.progress == Progress(1, 2)
    assert (await views(history, jobs).show("waits")).task.progress is None
    assert (await views(history, jobs, FakeProgress(is_away=True)).show("held")).task.progress is None


async def test_places_are_shown_by_the_names_that_clients_know() -> None:
    rows = [row("a"), row("b", "failed", Place.HISTORY)]
    assert [one.place for one in (await views(FakeHistory(*rows), FakeJobs()).page(TaskFilter(), None, 10)).rows] == [
        "task_queue",
        "publish_tasks",
    ]


async def test_a_task_that_is_nowhere_is_not_found() -> None:
    with pytest.raises(TaskNotFound):
        await views(FakeHistory(), FakeJobs()).show("nobody")


async def test_the_last_ends_of_all_statuses_come_in_one_order() -> None:
    ended = [
        row("first", "failed", Place.HISTORY, completed_at="2026-01-01T00:00:01Z"),
        row("third", "success", Place.HISTORY, completed_at="2026-01-01T00:00:03Z"),
        row("second", "cancelled", Place.HISTORY, updated_at="2026-01-01T00:00:02Z"),
        row("waits"),
    ]
    found, _ = await views(FakeHistory(*ended), FakeJobs()).recent_ends(2)
    assert [one.task_id for one in found] == ["third", "second"]


def test_statuses_that_only_an_original_file_has_count_in_the_total_alone() -> None:
    counts = status_counts(Summary(5, {"failed": 2, "weird": 3}, {}, {}))
    assert (counts.failed, counts.success, counts.total) == (2, 0, 5)
