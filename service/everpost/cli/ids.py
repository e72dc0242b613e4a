"""Ids on the command line: a whole id, or a beginning that only one task's id has."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from everpost.cli.client import Api
from everpost.cli.times import relative_time
from everpost.clock import system_clock
from everpost.errors import ServiceError, TaskNotFound
from everpost.printable import is_printable, printable
from everpost.task.model import MAX_ID

WHOLE = re.compile(r"[0-9a-f]{32}")
CANDIDATES = 10
COMPLETED = 50
COMPLETION_S = 3.0  # how long to wait for a slow API


class AmbiguousId(ServiceError):
    """Several tasks' ids begin with the given text; `details` has a line for each, newest first."""

    code = "ambiguous_id"

    def __init__(self, prefix: str, candidates: Sequence[Mapping[str, Any]], *, more: bool) -> None:
        super().__init__(f"More than one task has an id that begins with {prefix!r}; give more of it.")
        now_ms = system_clock()
        self.details = [_candidate_line(candidate, now_ms) for candidate in candidates]
        self.details += ["  and more"] if more else []


def _candidate_line(candidate: Mapping[str, Any], now_ms: int) -> str:
    accepted = relative_time(candidate.get("created_at"), now_ms)
    title = " ".join(str(candidate.get("title") or "").split())[:40]
    return printable(f"  {candidate['task_id']}  {candidate['status']:9}  {accepted:10}  {title}").rstrip()


def whole_id(api: Api, given: str) -> str:
    """The whole id for a whole or shortened id; `given` itself if the database has no such id.

    Raises:
        AmbiguousId: Several ids begin with it.
        TaskNotFound: It is empty.
    """
    if not given:
        raise TaskNotFound(given)
    if WHOLE.fullmatch(given) or len(given) > MAX_ID:
        return given
    answer = api.get("/tasks/ids", {"prefix": given, "limit": CANDIDATES})
    found = [str(candidate["task_id"]) for candidate in answer["data"]]
    if len(found) > 1 and found[0] != given:
        raise AmbiguousId(given, answer["data"], more=answer["more"])
    return found[0] if found else given  # Redis may know a task that the database does not know


def whole_ids(api: Api, given: Sequence[str]) -> list[str]:
    """`whole_id` of each."""
    return [whole_id(api, one) for one in given]


def complete_task_id(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For shell completion: the ids that begin with the text, or the newest ids; empty if no API answers."""
    try:
        with Api.open(None, timeout_s=COMPLETION_S) as api:
            if incomplete:
                rows = api.get("/tasks/ids", {"prefix": incomplete, "limit": COMPLETED})["data"]
            else:
                rows = api.get("/tasks", {"limit": 20})["data"]
    except ServiceError:
        return []
    return [
        CompletionItem(row["task_id"], help=printable(f"{row['status']}  {str(row['title'] or '')[:40]}"))
        for row in rows
        if is_printable(row["task_id"])
    ]
