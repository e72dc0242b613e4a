"""Is the work complete? Every task counted in the database file: none lost, none twice, before any rate is told."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from everpost.bench.load import LoadReport
from everpost.errors import ServiceError
from everpost.store.sqlite.library import sqlite3

CHUNK = 5_000
LOOK_EVERY_S = 0.003
PATIENCE_S = 60.0  # without any progress

RECORDED = """
SELECT count(*), count(DISTINCT job_id), ifnull(sum(json_array_length(attempts)), 0)
FROM json_each(:ids) CROSS JOIN publish_tasks ON job_id = value WHERE status = :status
"""
ATTEMPTS = """
SELECT attempts ->> '$[0].started_at', attempts ->> '$[0].finished_at'
FROM json_each(:ids) CROSS JOIN publish_tasks ON job_id = value
"""
QUEUED = "SELECT count(*) FROM json_each(:ids) CROSS JOIN task_queue ON task_id = value"
COUNTED = """
SELECT ifnull(sum(tasks), 0) FROM task_counts
WHERE source = 'publish_tasks' AND status = :status AND platform = :platform
"""


class WorkIncomplete(ServiceError):
    """What was measured was not all of the work, so its rate is not told."""

    code = "work_incomplete"

    def __init__(self, what: str) -> None:
        super().__init__(f"No rate is told, because the work was not complete: {what}.")


class RecordFile:
    """A read-only look at the database file under measurement."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def count(self, platform: str, status: str) -> int:
        """How many tasks of a platform the history has with a status; one look-up, however many there are."""
        found = self._connection.execute(COUNTED, {"platform": platform, "status": status}).fetchone()
        return int(found[0])

    def select(self, statement: str, value: str) -> tuple[Any, ...] | None:
        """The first row of a statement with one parameter."""
        row: tuple[Any, ...] | None = self._connection.execute(statement, (value,)).fetchone()
        return row

    def attempts(self, ids: Sequence[str]) -> list[tuple[str, str]]:
        """When the first attempt of each recorded task began and ended."""
        return [row for chunk in _chunks(ids) for row in self._connection.execute(ATTEMPTS, {"ids": chunk})]

    async def wait_for(self, platform: str, status: str, wanted: int) -> list[tuple[float, int]]:
        """Wait until the history has so many; when (on the monotonic clock) it had how many.

        Raises:
            WorkIncomplete: Nothing has happened for `PATIENCE_S`, or there are more than wanted.
        """
        seen = [(time.monotonic(), self.count(platform, status))]
        while seen[-1][1] < wanted:
            await asyncio.sleep(LOOK_EVERY_S)
            now_s, found = time.monotonic(), self.count(platform, status)
            if found != seen[-1][1]:
                seen.append((now_s, found))
            elif now_s - seen[-1][0] > PATIENCE_S:
                break
        if seen[-1][1] != wanted:
            raise WorkIncomplete(f"{seen[-1][1]} of {wanted} tasks were recorded")
        return seen


def check_answers(report: LoadReport, count: int) -> None:
    """Hold the answers against what was asked for.

    Raises:
        WorkIncomplete: One was wrong, is missing, or gave an id another had.
    """
    if report.wrong:
        raise WorkIncomplete(f"{report.wrong} of {count} answers were wrong, such as {report.example[:300]!r}")
    if len(report.waits_s) != count or (report.ids and len(set(report.ids)) != count):
        raise WorkIncomplete(f"{len(report.waits_s)} answers with {len(set(report.ids))} ids came for {count} requests")


def check_recorded(path: Path, ids: Sequence[str], status: str = "success") -> None:
    """See that the history has each task once, with this status, after one attempt.

    Raises:
        WorkIncomplete: Some are lost, unfinished or repeated.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows, tasks, attempts = 0, 0, 0
        for chunk in _chunks(ids):
            found = connection.execute(RECORDED, {"ids": chunk, "status": status}).fetchone()
            rows, tasks, attempts = rows + found[0], tasks + found[1], attempts + found[2]
    if not rows == tasks == attempts == len(ids):
        raise WorkIncomplete(
            f"of {len(ids)} tasks {tasks} are recorded as {status}, in {rows} rows and with {attempts} attempts"
        )


def check_queued(path: Path, ids: Sequence[str]) -> None:
    """See that the ledger has each task.

    Raises:
        WorkIncomplete: Some are lost.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        found = sum(connection.execute(QUEUED, {"ids": chunk}).fetchone()[0] for chunk in _chunks(ids))
    if found != len(ids):
        raise WorkIncomplete(f"of {len(ids)} accepted tasks the ledger has {found}")


def _chunks(ids: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(ids), CHUNK):
        yield msgspec.json.encode(ids[start : start + CHUNK]).decode()
