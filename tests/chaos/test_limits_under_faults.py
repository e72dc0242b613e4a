"""Limits under faults: however workers and Redis fail, the platform sees no more than the limits allow.

The attempts of a worker that was killed are over. A worker that is frozen for longer than its leases goes on with
attempts that do not count any more, as docs/limits.md says. So they count here only until their leases have ended.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from chaos_kit.dials import SEED
from chaos_kit.effects_worker import SpanMark, spans_of
from chaos_kit.faults import do
from chaos_kit.processes import PythonProcess
from chaos_kit.scene import LEASE_S, Scene, playing
from everpost.publishing import PublisherClass

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("both_stores")]

ALL, EACH, COUNT, PER_S = 8, 1, 30, 1.0
LIMITS = [
    {"limits": {"concurrency": ALL}},
    {"platform": "douyin", "each_account": True, "limits": {"concurrency": EACH}},
    {"platform": "kuaishou", "limits": {"rates": [{"count": COUNT, "per_s": PER_S}]}},
]
SLACK_S = 0.3  # from the decision of Redis to the publisher's first line, on a busy machine
RENEWED_S = 1.0  # the longest time since the last renewal of a lease
FAULTS = ["kill_worker", "flush_valkey", "stop_worker", "replace_valkey", "kill_worker", "freeze_worker", "kill_valkey"]

Gone = Sequence[tuple[int, float]]
"""Processes, each with the time from which on its attempts do not count."""


class Watched:
    """Notes when each worker was killed or frozen.

    Attributes:
        gone: See `Gone`.
    """

    def __init__(self, workers: Sequence[PythonProcess]) -> None:
        self.gone: list[tuple[int, float]] = []
        for worker in workers:
            worker.kill = self._noting(worker, worker.kill)  # type: ignore[method-assign]

    def _noting(self, worker: PythonProcess, kill: Callable[[], None]) -> Callable[[], None]:
        def noting() -> None:
            pid = worker.child.pid if worker.child is not None else 0
            kill()
            self.gone.append((pid, time.monotonic()))

        return noting

    def note_frozen(self, marks: Sequence[SpanMark]) -> None:
        """Note processes that were silent for longer than a lease: their leases have ended meanwhile."""
        for pid in {mark.pid for mark in marks}:
            times = [mark.at_s for mark in marks if mark.pid == pid]
            for before, after in pairwise(times):
                if after - before > LEASE_S - RENEWED_S:
                    self.gone.append((pid, before + LEASE_S - RENEWED_S))


def read_marks(scene: Scene) -> list[SpanMark]:
    lines = spans_of(scene.effects).read_bytes().splitlines()
    return sorted((msgspec.json.decode(line, type=SpanMark) for line in lines), key=lambda mark: mark.at_s)


def most_at_once(marks: Sequence[SpanMark], gone: Gone, group_of: Callable[[SpanMark], str | None]) -> Counter[str]:
    """The most attempts of each group that ran at the same time."""
    running: dict[tuple[int, str], str] = {}
    most: Counter[str] = Counter()
    events: list[tuple[float, Any]] = [(mark.at_s, mark) for mark in marks] + [(at_s, pid) for pid, at_s in gone]
    for _, event in sorted(events, key=lambda event: event[0]):
        if isinstance(event, int):
            running = {key: group for key, group in running.items() if key[0] != event}
            continue
        group = group_of(event)
        if group is None:
            continue
        if event.begins:
            running[event.pid, event.key] = group
        else:
            running.pop((event.pid, event.key), None)
        most[group] = max(most[group], sum(each == group for each in running.values()))
    return most


def most_within(marks: Sequence[SpanMark], seconds: float) -> int:
    """The most attempts that began within so many seconds."""
    times = [mark.at_s for mark in marks if mark.begins]
    return max((sum(at <= later < at + seconds for later in times) for at in times), default=0)


def parts(marks: Sequence[SpanMark], platform: str) -> Iterator[SpanMark]:
    return (mark for mark in marks if mark.platform == platform)


async def set_limits(scene: Scene) -> None:
    async with httpx.AsyncClient(base_url=scene.addresses()[0]) as client:
        for body in LIMITS:
            (await client.put("/api/v1/limits", json=body)).raise_for_status()


async def test_no_limit_is_exceeded_however_workers_and_redis_fail(tmp_path: Path) -> None:
    scene = Scene(
        tmp_path,
        seed=SEED,
        publisher_class=PublisherClass.KEYED,
        workers=3,
        clients=16,
        rate=40,
        settings={"SPANS": "1"},
    )
    async with playing(scene):
        await set_limits(scene)
        for worker in scene.workers:
            await worker.stop()
        watched = Watched(scene.workers)
        await scene.start()
        scene.load.start()
        for name in FAULTS:
            await do(scene, name)
        verdict = await scene.finish()
    assert verdict.is_good, verdict
    marks = read_marks(scene)
    watched.note_frozen(marks)
    every = most_at_once(marks, watched.gone, lambda _: "all")
    each = most_at_once(marks, watched.gone, lambda mark: mark.account_id if mark.platform == "douyin" else None)
    print(f"{len(marks)} marks; at once {dict(every)}; of each account {dict(each)}")  # noqa: T201 - the line of the scene
    assert every["all"] <= ALL
    assert set(each.values()) == {EACH}
    assert most_within(list(parts(marks, "kuaishou")), PER_S - SLACK_S) <= COUNT
