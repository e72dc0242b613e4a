# ruff: noqa: S608 - every statement is made of texts of this package; clients' values are always parameters
"""Which tasks a list shows, as SQL: for each table and value, one ordered search of one index, joined with UNION ALL.

The order is (created_at, id), newest first. A task keeps both when it moves from the ledger to the history. Rows
without created_at, which an original file may have, come last. Rows without an id are left out, because no request
could name them.
"""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from everpost.store.history import TaskFilter
from everpost.store.lists.counted import accounts_reached, matches_nothing
from everpost.store.lists.cursor import LAST, Key
from everpost.store.lists.local_times import HOUR_MS, spellings_of, text_of
from everpost.store.sqlite.lists.search import Hits
from everpost.store.sqlite.tables import TABLES
from everpost.task.callbacks import SUFFIX
from everpost.task.model import TaskStatus
from everpost.task.place import Place

ID_COLUMN = {Place.LEDGER: "task_id", Place.HISTORY: "job_id"}
COMPARED = ("status", "account_id", "error_class", "batch_id", "retry_of", "submitted_by")
AMONG_WAITING = "id IN (SELECT value FROM json_each(:waiting))"
AMONG_UNINDEXED = "task_id IN (SELECT value FROM json_each(:unindexed))"
AMONG_HITS = "task_id IN (SELECT value FROM json_each(:hits))"
MATCHED = "task_id IN (SELECT rowid FROM publish_tasks_search WHERE publish_tasks_search MATCH :query)"


class Lead(msgspec.Struct, frozen=True):
    """The index that a search of a table follows, and the conditions on the beginning of that index.

    Attributes:
        hint: Makes SQLite follow this index, even if it rates another one better.
        fields: The fields of the filter that these conditions cover.
        source: The tables, if they are not the one of the place.
        key: The columns of the order in `source`.
    """

    hint: str = ""
    terms: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    source: str = ""
    key: tuple[str, str] | None = None


BY_ROW = Lead("NOT INDEXED")  # by row number


class Search(msgspec.Struct, frozen=True):
    """A `SELECT` over ledger and history, as text with its parameters."""

    sql: str
    parameters: dict[str, Any]


def column(place: Place, name: str) -> str:
    """The expression for a task's platform, account or title. Rows of an original file have it only in their JSON."""
    if place is Place.HISTORY:
        return name
    return f"ifnull({name}, iif(json_valid(data), CAST(data ->> '$.{name}' AS TEXT), NULL))"


def compose(
    wanted: TaskFilter,
    columns: Mapping[Place, str] | None,
    after: Key,
    *,
    zone: tzinfo | None,
    hits: Hits | None,
    rarer: str,
    statuses: Sequence[str | None],
    hides_callbacks: bool = False,
) -> Search:
    """The search for the tasks behind `after`. A row has the `columns`, and then its key as `sort_at` and `sort_id`.

    The statement wants the parameter `limit` too, and the function `everpost_utc`.

    Args:
        columns: None if rows are only counted; they then have no columns and no order.
        zone: As `time_bounds` has it.
        hits: What matches `wanted.q`.
        rarer: See `everpost.store.lists.counted.rarer_of`. A platform or an account counts together with the status.
        statuses: Every status that a row of the history has.
        hides_callbacks: Leave callbacks out, by their ids alone: every index has them.
    """
    if wanted.error_class is not None:  # so the many successes of an account are not read
        statuses = [status for status in statuses if status != TaskStatus.SUCCESS]
    parts = [
        _select(
            place,
            None if columns is None else columns[place],
            lead,
            (*search, *_checks(wanted, place, lead), *([_is_no_callback(place, lead)] if hides_callbacks else [])),
            after,
        )
        for place in _places(wanted)
        for search, by_row in _searches(place, hits)
        for lead in ([BY_ROW] if by_row else _leads(wanted, place, rarer, len(statuses)))
    ]
    order = "" if columns is None else "ORDER BY sort_at DESC, sort_id DESC"
    sql = "SELECT * FROM (\n" + "\nUNION ALL\n".join(parts) + f"\n)\n{order} LIMIT :limit"
    named = {f"status{number}": status for number, status in enumerate(statuses)}
    return Search(sql, _parameters(wanted, after, zone, hits) | named)


def _places(wanted: TaskFilter) -> tuple[Place, ...]:
    if wanted.place is not None:
        return (wanted.place,)
    return tuple(ID_COLUMN)


def _select(place: Place, columns: str | None, lead: Lead, checks: tuple[str, ...], after: Key) -> str:
    created_at, task_id = lead.key or ("created_at", ID_COLUMN[place])
    source = lead.source or f"{TABLES[place]} {lead.hint}"
    dated = f"({created_at}, {task_id}) < (:at, :id)"
    order = dated if after.created_at is not None else f"{created_at} IS NULL AND {task_id} < :id"
    where = "\n    AND ".join((*lead.terms, order, f"{task_id} IS NOT NULL", *checks))
    if columns is None:
        if lead.source and all("failed" in check for check in checks):  # nothing else is asked for than failures have
            source = FAILURES_ALONE
        return f"SELECT 1 FROM {source}\n    WHERE {where}"
    return (
        f"SELECT * FROM (SELECT {columns}, {created_at} AS sort_at, {task_id} AS sort_id\n"
        f"    FROM {source}\n"
        f"    WHERE {where}\n    ORDER BY {created_at} DESC, {task_id} DESC LIMIT :limit)"
    )


def _leads(wanted: TaskFilter, place: Place, rarer: str, statuses: int) -> list[Lead]:
    """The narrowest index there is for the filter."""
    if wanted.task_ids is not None:
        return [Lead("", (_among_ids(place),), ("task_ids",))]
    for name, suffix in (("retry_of", "retry"), ("batch_id", "batch")):
        if getattr(wanted, name) is not None:
            return [_lead(place, suffix, name)]
    if place is Place.HISTORY:
        return _history_leads(wanted, rarer, statuses)
    if wanted.status in {None, TaskStatus.PENDING}:
        return [_lead(place, "created")]
    return [Lead("INDEXED BY task_queue_status", ("status = :status", "status <> 'pending'"), ("status",))]


def _history_leads(wanted: TaskFilter, rarer: str, statuses: int) -> list[Lead]:
    if wanted.cause is not None:
        return [_cause_lead(wanted)]
    if rarer == "error_class":
        return [_lead(Place.HISTORY, "error", "error_class")]
    if rarer == "platform":
        spellings = [f"platform = :platform{number}" for number in range(len(wanted.platform or ()))]
        return _leads_by_status(wanted, "platform", spellings, statuses)
    if rarer == "account_id":
        return _leads_by_status(wanted, "account", ["account_id = :account_id"], statuses)
    if rarer == "reach":
        accounts = [f"account_id = :reached{number}" for number in range(len(accounts_reached(wanted)))]
        return _leads_by_status(wanted, "account", accounts, statuses)
    return [_lead(Place.HISTORY, rarer or "created", *([rarer] if rarer else []))]


FAILURES_ALONE = (
    "(SELECT task_id AS failed, cause AS failed_of, created_at AS failed_at, platform AS failed_platform,"
    " account_id AS failed_account FROM failures INDEXED BY failures_cause)"
)
FAILURES = f"{FAILURES_ALONE} CROSS JOIN publish_tasks ON job_id = failed"


def _cause_lead(wanted: TaskFilter) -> Lead:
    """The failures of a cause. Their index has platform and account too, so that a group is found among many others."""
    terms, fields = ["failed_of = :cause"], ["cause"]
    if wanted.platform is not None:
        spellings = ", ".join(f":platform{number}" for number in range(len(wanted.platform)))
        terms.append(f"failed_platform IN ({spellings})")
        fields.append("platform")
    if wanted.account_id is not None:
        terms.append("failed_account = :account_id")
        fields.append("account_id")
    if wanted.status is not None:  # `failures` has no tasks but failed ones
        terms += [] if wanted.status == TaskStatus.FAILED else ["FALSE"]
        fields.append("status")
    return Lead("", tuple(terms), tuple(fields), source=FAILURES, key=("failed_at", "failed"))


def _leads_by_status(wanted: TaskFilter, suffix: str, terms: Sequence[str], statuses: int) -> list[Lead]:
    """One search for each term and status, because the index has the status between the term and the order."""
    hint = f"INDEXED BY publish_tasks_{suffix}"
    fields = ("status", "platform" if suffix == "platform" else "account_id")
    named = (
        [f"status IS :status{number}" for number in range(statuses)] if wanted.status is None else ["status = :status"]
    )
    return [Lead(hint, (term, status), fields) for term in terms for status in named]


def _lead(place: Place, suffix: str, *fields: str) -> Lead:
    return Lead(f"INDEXED BY {TABLES[place]}_{suffix}", tuple(f"{field} = :{field}" for field in fields), fields)


def _among_ids(place: Place) -> str:
    return f"{ID_COLUMN[place]} IN (SELECT value FROM json_each(:task_ids))"


def _checks(wanted: TaskFilter, place: Place, lead: Lead) -> list[str]:
    """The conditions that are checked row by row."""
    given = [name for name in COMPARED if getattr(wanted, name) is not None and name not in lead.fields]
    if matches_nothing(wanted, place):
        return ["FALSE"]
    checks = [f"{column(place, name) if name == 'account_id' else name} = :{name}" for name in given]
    if wanted.cause is not None and "cause" not in lead.fields:
        checks.append("EXISTS (SELECT 1 FROM failures AS f WHERE f.task_id = job_id AND f.cause = :cause)")
    if wanted.platform is not None and "platform" not in lead.fields:
        spellings = ", ".join(f":platform{number}" for number in range(len(wanted.platform)))
        checks.append(f"{column(place, 'platform')} IN ({spellings})")
    if wanted.task_ids is not None and "task_ids" not in lead.fields:
        checks.append(_among_ids(place))
    if wanted.reach is not None:
        checks.append(_is_reached(place))
    created_at = lead.key[0] if lead.key else "created_at"
    utc = f"iif({created_at} LIKE '%Z', {created_at}, everpost_utc({created_at}))"
    if wanted.created_after_ms is not None:
        checks.append(f"{created_at} >= :from AND {utc} >= :created_after")
    if wanted.created_before_ms is not None:
        checks.append(f"{utc} < :created_before")
    return checks


def _is_reached(place: Place) -> str:
    platform, account = column(place, "platform"), column(place, "account_id")
    among = "IN (SELECT value FROM json_each(:reach))"
    return f"({platform} {among} OR {platform} || char(10) || {account} {among})"


def _is_no_callback(place: Place, lead: Lead) -> str:
    return f"substr({(lead.key or ('', ID_COLUMN[place]))[1]}, -{len(SUFFIX)}) <> '{SUFFIX}'"


def _searches(place: Place, hits: Hits | None) -> list[tuple[tuple[str, ...], bool]]:
    """The conditions of each search of a table that `q` needs, and whether it finds its rows by their numbers.

    One search is for the rows in the full-text index, another for the newest rows, which the index lacks.
    """
    if hits is None:
        return [((), False)]
    if place is Place.LEDGER:
        return [((AMONG_WAITING,), True)]
    return [((MATCHED,), False) if hits.rows is None else ((AMONG_HITS,), True), ((AMONG_UNINDEXED,), True)]


def time_bounds(wanted: TaskFilter, zone: tzinfo | None) -> tuple[str, str]:
    """The lowest and the highest text of `created_at` that the times of the filter let through.

    Args:
        zone: The zone of local times, which rows of an original file have. None if no such row matters: then texts
            are in the order of time.
    """
    low, high = "", LAST
    if wanted.created_after_ms is not None:
        after_ms = wanted.created_after_ms
        low = text_of(after_ms) if zone is None else min(spellings_of(after_ms - HOUR_MS, zone))
    if wanted.created_before_ms is not None:
        before_ms = wanted.created_before_ms
        high = text_of(before_ms) if zone is None else max(spellings_of(before_ms + HOUR_MS, zone)) + LAST
    return low, high


def _parameters(wanted: TaskFilter, after: Key, zone: tzinfo | None, hits: Hits | None) -> dict[str, Any]:
    parameters: dict[str, Any] = {name: getattr(wanted, name) for name in COMPARED}
    parameters |= {f"platform{number}": text for number, text in enumerate(wanted.platform or ())}
    parameters |= {f"reached{number}": text for number, text in enumerate(accounts_reached(wanted))}
    parameters["cause"] = wanted.cause
    parameters["reach"] = msgspec.json.encode(wanted.reach or ()).decode()
    parameters["task_ids"] = msgspec.json.encode(wanted.task_ids or ()).decode()
    at = after.created_at
    low, high = time_bounds(wanted, zone)
    if wanted.created_after_ms is not None:
        parameters |= {"created_after": text_of(wanted.created_after_ms), "from": low}
    if wanted.created_before_ms is not None:
        parameters["created_before"] = text_of(wanted.created_before_ms)
        at = min(at, high) if isinstance(at, str) else at
    parameters |= {"at": at, "id": after.task_id}
    if hits is not None:
        found = {"hits": hits.rows or (), "unindexed": hits.unindexed, "waiting": hits.waiting}
        parameters |= {name: msgspec.json.encode(rows).decode() for name, rows in found.items()}
    return parameters
