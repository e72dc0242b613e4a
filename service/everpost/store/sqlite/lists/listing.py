"""Lists of tasks over ledger and history together, and how many there are. A page costs the same wherever it lies."""

from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from typing import Any, TypeVar

import msgspec

from everpost.clock import read_time, to_text, utc_text
from everpost.errors import InvalidValue
from everpost.store.history import COUNTED, MAX_IDS, MAX_LIMIT, SEARCH_S, Page, Summary, TaskFilter, TaskRow, Total
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.file.snapshot import snapshot
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.lists.cursor import BEGINNING, Key, read_cursor, write_cursor
from everpost.store.sqlite.lists.filters import column, fits, is_counted, may_look_far
from everpost.store.sqlite.lists.finder import Finder
from everpost.store.sqlite.lists.words import read_query
from everpost.store.sqlite.queries import load
from everpost.task.model import Evidence
from everpost.task.place import Place

Result = TypeVar("Result")


_TIMES = ("created_at", "updated_at", "due_at", "started_at", "completed_at")
_LEDGER_COLUMNS = ", ".join(column(Place.LEDGER, name) for name in ("platform", "account_id", "title"))
_ATTEMPTS = (
    "CASE WHEN NOT ifnull(json_valid(attempts), 0) THEN 0 WHEN attempts NOT LIKE '%\"omitted\":%' "
    "THEN json_array_length(attempts) ELSE (SELECT sum(1 + CASE type WHEN 'object' "
    "THEN CAST(ifnull(value ->> 'omitted', 0) AS INTEGER) ELSE 0 END) FROM json_each(attempts)) END"
)
_EVIDENCE = (
    "CASE WHEN status = 'unknown' AND json_valid(attempts) THEN (SELECT value ->> 'evidence' FROM json_each(attempts) "
    "WHERE value ->> 'evidence' IS NOT NULL ORDER BY key DESC LIMIT 1) END"
)
_ROW = {
    Place.HISTORY: (
        "job_id AS task_id, 'publish_tasks' AS place, 0 AS inherited, status, platform, account_id, title, priority, "
        "created_at, updated_at, NULL AS due_at, started_at, completed_at, error_class, error_message, retry_of, "
        f"batch_id, {_ATTEMPTS} AS attempts, provider_post_id, publish_url, {_EVIDENCE} AS evidence"
    ),
    Place.LEDGER: (
        f"task_id, 'task_queue', accepted_by IS NULL, status, {_LEDGER_COLUMNS}, "
        "priority, created_at, updated_at, due_at, started_at, completed_at, NULL, error_message, retry_of, "
        f"batch_id, {_ATTEMPTS}, NULL, NULL, NULL"
    ),
}
_NOTHING = dict.fromkeys(_ROW, "1 AS one")


class Listing:
    """Lists and counts tasks of ledger and history; archived ones are not among them.

    Args:
        timezone: How the naive times of inherited rows are read.
    """

    def __init__(self, database: Database, timezone: tzinfo = UTC) -> None:
        self._database = database
        self._timezone = timezone

    async def page(self, wanted: TaskFilter, cursor: str | None = None, limit: int = 50) -> Page:
        """The next tasks behind `cursor`, newest first, at most `limit` (1 to `MAX_LIMIT`).

        Raises:
            InvalidValue: `cursor` is none, `limit` is out of range, or `q` is too long.
            SearchTimeout: It took longer than `SEARCH_S`.
        """
        after = _beginning(cursor, limit)
        return self._page(await self._searching(wanted, lambda search: search.rows(_ROW, after, limit + 1)), limit)

    async def page_and_total(
        self, wanted: TaskFilter, cursor: str | None = None, limit: int = 50
    ) -> tuple[Page, Total]:
        """What `page` and `total` answer, as it stood at one moment; of a search with `q`, for half of the work."""
        if is_counted(wanted):
            return await self.page(wanted, cursor, limit), await self.total(wanted)
        after = _beginning(cursor, limit)
        rows, count = await self._searching(
            wanted, lambda search: (search.rows(_ROW, after, limit + 1), search.count(COUNTED))
        )
        return self._page(rows, limit), Total(count, total_is_exact=count < COUNTED)

    async def page_ids(
        self, wanted: TaskFilter, cursor: str | None = None, limit: int = MAX_LIMIT, *, within_s: float = SEARCH_S
    ) -> tuple[list[str], str | None]:
        """The ids of the tasks `page` answers, and the next cursor; `limit` may be up to `MAX_IDS`."""
        after = _beginning(cursor, limit, MAX_IDS)
        rows = await self._searching(wanted, lambda search: search.rows(_NOTHING, after, limit + 1), within_s=within_s)
        return [row[-1] for row in _without_doubles(rows[:limit])], _following(rows, limit)

    async def total(self, wanted: TaskFilter, limit: int | None = COUNTED, *, within_s: float = SEARCH_S) -> Total:
        """How many tasks match: exact if only status and platform are asked for, else counted up to `limit`."""
        if is_counted(wanted):
            rows = await self._counts()
            count = sum(tasks for _, status, platform, tasks in rows if fits(wanted, status, platform))
            return Total(count, total_is_exact=True)
        count = await self._searching(wanted, lambda search: search.count(limit), within_s=within_s)
        return Total(count, total_is_exact=limit is None or count < limit)

    async def count_accepted(self) -> int:
        """How many tasks that Everpost accepted have not ended; inherited ones are not among them."""
        row = await self._database.read(lambda connection: connection.execute(load("count_accepted")).fetchone())
        return int(row[0])

    async def summary(self, name_of: Callable[[str], str] = str) -> Summary:
        """How many tasks there are, without counting them: triggers keep the numbers.

        Args:
            name_of: The name of a platform for each way in which tasks spell it.
        """
        by_status: dict[str, int] = {}
        by_platform: dict[str, int] = {}
        by_both: dict[str, dict[str, int]] = {}
        for _, status, spelling, tasks in await self._counts():
            platform = name_of(spelling)
            of_platform = by_both.setdefault(platform, {})
            for tally, name in ((by_status, status), (by_platform, platform), (of_platform, status)):
                tally[name] = tally.get(name, 0) + tasks
        return Summary(sum(by_status.values()), by_status, by_platform, by_both)

    async def _counts(self) -> list[tuple[str, str, str, int]]:
        return await self._database.read(lambda connection: connection.execute(load("count_tasks")).fetchall())

    async def _searching(
        self, wanted: TaskFilter, operation: Callable[[Finder], Result], *, within_s: float = SEARCH_S
    ) -> Result:
        """Run `operation` with what finds and counts the tasks, all as they stood at one moment."""
        query = None if wanted.q is None else read_query(wanted.q)

        def run(connection: sqlite3.Connection) -> Result:
            connection.create_function("everpost_utc", 1, self._utc_of)
            with snapshot(connection):
                return operation(Finder(connection, wanted, query, self._timezone))

        return await self._database.search(run, within_s=within_s, looks_far=may_look_far(wanted))

    def _page(self, rows: list[Any], limit: int) -> Page:
        return Page([self._task_row(row) for row in _without_doubles(rows[:limit])], _following(rows, limit))

    def _utc_of(self, stored: object) -> str | None:
        try:
            return None if stored is None else to_text(read_time(str(stored), self._timezone))
        except (ValueError, OverflowError):
            return None

    def _task_row(self, row: Sequence[Any]) -> TaskRow:
        fields = dict(zip(TaskRow.__struct_fields__, row[:-2], strict=True))
        fields |= {name: utc_text(fields[name], self._timezone) for name in _TIMES}
        fields |= {"place": Place(fields["place"]), "inherited": bool(fields["inherited"])}
        fields["status"] = fields["status"] or ""
        if fields["evidence"] is not None:
            fields["evidence"] = msgspec.json.decode(fields["evidence"], type=Evidence)
        return TaskRow(**fields)


def _beginning(cursor: str | None, limit: int, most: int = MAX_LIMIT) -> Key:
    if not 1 <= limit <= most:
        raise InvalidValue(f"limit is 1 to {most}.", "$.limit")
    return BEGINNING if cursor is None else read_cursor(cursor)


def _following(rows: Sequence[Any], limit: int) -> str | None:
    return write_cursor(Key(*rows[limit - 1][-2:])) if len(rows) > limit else None


def _without_doubles(rows: list[Any]) -> list[Any]:
    """An original file may have one id twice, in two tables or one; it is one task."""
    return [row for number, row in enumerate(rows) if not number or row[-2:] != rows[number - 1][-2:]]
