# ruff: noqa: S608 - every statement is made of texts of this package; clients' values are always parameters
"""Which tasks a list shows, as SQL: for each table, one ordered walk along one index, joined with UNION ALL.

The order is (created_at, id), newest first. A task keeps both when it moves from the ledger to the history. Rows
without created_at, which an original file may have, come last. Rows without an id are left out, because no request
could name them.

A walk of the history goes along the same index in each of its partitions, and merges them. PostgreSQL knows no hint:
conditions on other columns are written so that no index fits them.
"""

from typing import Any

import msgspec

from everpost.store.history import TaskFilter
from everpost.store.lists.counted import accounts_reached, asks_only_for, matches_nothing
from everpost.store.lists.cursor import Key
from everpost.store.postgresql.link.statements import Sql
from everpost.store.postgresql.link.texts import storable
from everpost.store.postgresql.lists.local_times import TimeBounds
from everpost.store.postgresql.lists.search import FEW, Hits
from everpost.task.callbacks import SUFFIX
from everpost.task.model import TaskStatus
from everpost.task.place import Place

TABLE = {Place.LEDGER: "task_queue", Place.HISTORY: "publish_tasks"}
PLACES = (Place.HISTORY, Place.LEDGER)
"""In this order: a count has often reached its limit before the ledger, whose indexes fit fewer filters."""

ID = {Place.LEDGER: "t.task_id", Place.HISTORY: "t.job_id"}
KEPT = {"platform": 100, "account_id": 256, "batch_id": 256, "retry_of": 256}
"""The most characters that are kept of a column, so that an index can hold it: schema/0001_tables.sql."""

COMPARED = ("status", "account_id", "error_class", "batch_id", "retry_of", "submitted_by")
COUNTED_BY_VALUES = ("status", "platform", "account_id", "error_class", "submitted_by", "reach", "place")
MATCHED = (
    "(SELECT s.words_in_it @@ :query::text::tsquery AND s.words LIKE ALL (:phrases::text[])"
    " FROM publish_tasks_search AS s WHERE s.job_id = t.job_id)"
)
"""Looked up for each row of a walk. A subquery like this is never turned into a join."""


class Lead(msgspec.Struct, frozen=True):
    """What a walk of a table follows.

    Attributes:
        terms: The conditions that tie it to the beginning of one index.
        fields: The fields of the filter that need no check any more.
        ids: The parameter with the ids to look up, instead of following an index.
        each: `led`, if the walk is repeated for each of its rows.
        source: What stands in place of the table.
        key: The columns of the order.
        oldest: Look for the status from the other end, until all tasks that have it are found.
    """

    terms: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    ids: str = ""
    each: str = ""
    source: str = ""
    key: tuple[str, str] | None = None
    oldest: bool = False


class Search(msgspec.Struct, frozen=True):
    """What is looked for: the filter, and what was found out for it beforehand.

    Attributes:
        hits: The matches of `wanted.q`.
        rarer: See `everpost.store.lists.counted.rarer_of`.
        of_status: How many tasks of the ledger have the status of the filter. An attempt changes the status, so no
            index has it. But the tasks that an attempt was made at are most likely the oldest ones.
        hides_callbacks: Leave callbacks out, by their ids alone: every index has them.
    """

    wanted: TaskFilter
    bounds: TimeBounds
    hits: Hits | None
    rarer: str
    of_status: int
    hides_callbacks: bool = False

    def keys(self, *, dated: bool) -> Sql:
        """The statement for the place, `sort_at` and `sort_id` of the tasks behind a key, at most `:limit`.

        Args:
            dated: The tasks with a time, behind (:at, :id); else those without, behind :id.
        """
        parts = [
            _walk(place, lead, self._conditions(place, lead, checks, dated=dated))
            for place, lead, checks in self._walks()
        ]
        walks = "\nUNION ALL\n".join(f"({part})" for part in parts)
        return Sql(f"SELECT * FROM (\n{walks}\n) AS found\nORDER BY sort_at DESC, sort_id DESC LIMIT :limit")

    def has_more_hits_than_few(self) -> bool:
        """Whether more than `FEW` tasks are known to match: words are all that the filter asks for."""
        return self.hits is not None and self.hits.indexed is None and asks_only_for(self.wanted, "q")

    def is_counted_by_values(self) -> bool:
        """Whether a count needs a plan for the filter's values.

        Of several fields, only its statistics tell PostgreSQL which value is rare. Batches and chains are never large.
        """
        wanted = self.wanted
        given = [wanted.status, wanted.platform, wanted.account_id, wanted.error_class, wanted.submitted_by]
        return sum(one is not None for one in given) > 1 and asks_only_for(wanted, *COUNTED_BY_VALUES)

    def counting(self) -> Sql:
        """The statement that counts the tasks up to `:limit`."""
        parts = [
            _counted(place, lead, " AND ".join((*lead.terms, *self._checks(place, lead, checks))))
            for place, lead, checks in self._walks(counting=True)
        ]
        walks = "\nUNION ALL\n".join(parts)
        return Sql(f"SELECT count(*) FROM (SELECT 1 FROM (\n{walks}\n) AS found LIMIT :limit) AS counted")

    def parameters(self, after: Key | None = None) -> dict[str, Any]:
        """The values of all parameters but `limit`; a statement has some of them."""
        wanted = self.wanted
        values: dict[str, Any] = {name: _kept(name, getattr(wanted, name)) for name in COMPARED}
        for name in ("platform", "task_ids"):
            values[name] = [_kept(name, value) for value in getattr(wanted, name) or ()]
        values["cause"] = None if wanted.cause is None else storable(wanted.cause)
        values["reach"] = [storable(one) for one in wanted.reach or ()]
        values["reached"] = [_kept("account_id", one) for one in accounts_reached(wanted)]
        values |= self.bounds.parameters() | {"of_status": self.of_status}
        if after is not None:
            at = after.created_at
            values |= {
                "at": self.bounds.before(storable(at)) if isinstance(at, str) else "",
                "id": storable(after.task_id),
            }
        return values if self.hits is None else values | self.hits.parameters()

    def _walks(self, *, counting: bool = False) -> list[tuple[Place, Lead, tuple[str, ...]]]:
        """The walks that the tasks take, with what is checked row by row beside the filter."""
        places = PLACES if self.wanted.place is None else (self.wanted.place,)
        return [walk for place in places if place in TABLE for walk in self._walks_of(place, counting)]

    def _walks_of(self, place: Place, counting: bool) -> list[tuple[Place, Lead, tuple[str, ...]]]:
        hits = self.hits
        if hits is not None and place is Place.LEDGER:
            return [(place, Lead(ids="waiting"), ())]
        is_free = counting and place is Place.HISTORY and self.wanted.cause is None
        leads = [self._free_lead()] if is_free else self._leads(place)
        if hits is None:
            return [(place, lead, ()) for lead in leads]
        unsearched = (place, Lead(ids="unsearched"), ())
        if hits.indexed is not None:
            return [(place, Lead(ids="hits"), ()), unsearched]
        return [*((place, lead, (MATCHED,)) for lead in leads), unsearched]

    def _free_lead(self) -> Lead:
        """What a count follows: the planner chooses an index by its statistics."""
        return Lead(("t.account_id = ANY (:reached::text[])",)) if accounts_reached(self.wanted) else Lead()

    def _leads(self, place: Place) -> list[Lead]:
        """The narrowest index there is for the filter."""
        wanted = self.wanted
        if wanted.task_ids is not None:
            return [Lead(ids="task_ids", fields=("task_ids",))]
        for name in ("retry_of", "batch_id"):
            if getattr(wanted, name) is not None:
                return [_lead(name)]
        if place is Place.HISTORY:
            return self._history_leads()
        if wanted.status == TaskStatus.SCHEDULED:
            return [Lead(("t.promote_at IS NOT NULL",))]
        is_rare = wanted.status not in {None, TaskStatus.PENDING} and self.of_status <= FEW
        return [Lead(fields=("status",), oldest=True) if is_rare else Lead()]

    def _history_leads(self) -> list[Lead]:
        if self.wanted.cause is not None:
            return [_cause_lead(self.wanted)]
        if self.rarer in {"error_class", "account_id"}:
            return [_lead(self.rarer)]
        if self.rarer == "reach":
            return [Lead(("t.account_id = led.one",), each="unnest(:reached::text[]) AS one")]
        if self.rarer == "platform":
            return [Lead(("t.platform = led.one",), ("platform",), each="unnest(:platform::text[]) AS one")]
        if self.rarer == "status" and self.wanted.status != TaskStatus.SUCCESS:
            return [_lead("status", "t.status <> 'success'")]
        return [Lead()]

    def _conditions(self, place: Place, lead: Lead, checks: tuple[str, ...], *, dated: bool) -> str:
        created_at, task_id = _key(place, lead)
        order = f"({created_at}, {task_id}) < (:at, :id)" if dated else f"{created_at} IS NULL AND {task_id} < :id"
        return "\n    AND ".join((*lead.terms, order, *self._checks(place, lead, checks)))

    def _checks(self, place: Place, lead: Lead, checks: tuple[str, ...]) -> list[str]:
        """The conditions that are checked row by row."""
        wanted = self.wanted
        if matches_nothing(wanted, place):
            return ["FALSE"]
        given = [name for name in COMPARED if getattr(wanted, name) is not None and name not in lead.fields]
        found = [f"{_value(place, name)} = :{name}" for name in given]
        if wanted.cause is not None and "cause" not in lead.fields:
            found.append("EXISTS (SELECT FROM failures AS f WHERE f.task_id = t.job_id AND f.cause = :cause OFFSET 0)")
        if wanted.platform is not None and "platform" not in lead.fields:
            found.append(f"{_value(place, 'platform')} = ANY (:platform::text[])")
        if wanted.task_ids is not None and "task_ids" not in lead.fields:
            found.append(f"{ID[place]} = ANY (:task_ids::text[])")
        if wanted.reach is not None:
            platform, account = _value(place, "platform"), _value(place, "account_id")
            found.append(f"({platform} = ANY (:reach::text[]) OR {platform} || chr(10) || {account} = ANY (:reach))")
        created_at, task_id = _key(place, lead)
        if self.hides_callbacks:
            found.append(f"right({task_id}, {len(SUFFIX)}) <> '{SUFFIX}'")
        return [f"{task_id} IS NOT NULL", *found, *self.bounds.conditions(created_at), *checks]


def _value(place: Place, name: str) -> str:
    """A column of a task. Rows of an original file's queue have platform and account only in their JSON."""
    if place is Place.LEDGER and name in {"platform", "account_id"}:
        return f"coalesce(t.{name}, everpost_member(t.data, '{name}'))"
    return f"t.{name}"


FAILURES = (
    "failures AS f CROSS JOIN LATERAL (SELECT * FROM publish_tasks AS h WHERE h.job_id = f.task_id OFFSET 0) AS t"
)
"""OFFSET: else PostgreSQL may read all tasks and join them, instead of following the order of the failures."""


def _cause_lead(wanted: TaskFilter) -> Lead:
    """The failures of a cause. Their index has platform and account too, so that a group is found among many others."""
    terms, fields = ["f.cause = :cause"], ["cause"]
    if wanted.platform is not None:
        terms.append("f.platform = ANY (:platform::text[])")
        fields.append("platform")
    if wanted.account_id is not None:
        terms.append("f.account_id = :account_id")
        fields.append("account_id")
    if wanted.status is not None:  # `failures` has no tasks but failed ones
        terms += [] if wanted.status == TaskStatus.FAILED else ["FALSE"]
        fields.append("status")
    return Lead(tuple(terms), tuple(fields), source=FAILURES, key=("f.created_at", "f.task_id"))


def _key(place: Place, lead: Lead) -> tuple[str, str]:
    return lead.key or ("t.created_at", ID[place])


def _walk(place: Place, lead: Lead, conditions: str) -> str:
    created_at, task_id = _key(place, lead)
    walk = (
        f"SELECT {created_at} AS sort_at, {task_id} AS sort_id {_source(place, lead)}\n"
        f"    WHERE {conditions}\n    ORDER BY {created_at} DESC, {task_id} DESC LIMIT :limit"
    )
    if not lead.each:
        return f"SELECT '{place}' AS place, walk.* FROM ({walk}) AS walk"
    return f"SELECT '{place}' AS place, walk.* FROM (SELECT {lead.each}) AS led CROSS JOIN LATERAL ({walk}) AS walk"


def _counted(place: Place, lead: Lead, conditions: str) -> str:
    """The rows to count. Failures of a cause are counted without the history if the filter asks for nothing else."""
    source = "FROM failures AS f" if lead.source and "t." not in conditions else _source(place, lead)
    return f"(SELECT 1 {source} WHERE {conditions})"


def _source(place: Place, lead: Lead) -> str:
    if lead.source:
        return f"FROM {lead.source}"
    if lead.oldest:
        oldest = "SELECT * FROM task_queue WHERE status = :status ORDER BY created_at, task_id LIMIT :of_status"
        return f"FROM ({oldest}) AS t"
    if not lead.ids:
        return f"FROM {TABLE[place]} AS t"
    looked_up = (
        f"SELECT t.* FROM unnest(:{lead.ids}::text[]) AS given (id) JOIN {TABLE[place]} AS t ON {ID[place]} = given.id"
    )
    return f"FROM ({looked_up} OFFSET 0) AS t"  # OFFSET: else PostgreSQL walks the order, and looks for the ids there


def _lead(field: str, *terms: str) -> Lead:
    return Lead((f"t.{field} = :{field}", *terms), (field,))


def _kept(name: str, value: str | None) -> str | None:
    """The value as the column has it."""
    return None if value is None else storable(value)[: KEPT.get(name)]
