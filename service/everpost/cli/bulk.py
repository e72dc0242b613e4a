"""Requests for many tasks: choosing the tasks, following the work, and printing the result."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from everpost.cli.client import Api, task_path
from everpost.cli.ids import whole_id, whole_ids
from everpost.cli.output import say, say_json
from everpost.cli.refusals import words_of

POLL_S = 0.2
REASONS_SHOWN = 20
RUNNING = "running"
MAKES_TASKS = {"retry", "undo"}
COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def chosen_tasks(task_ids: Sequence[str], filters: Mapping[str, str | None]) -> dict[str, Any]:
    """The members `task_ids` and `filter` of a request.

    Raises:
        click.UsageError: No task was chosen. Without this check, that would mean all tasks.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    if not task_ids and not given:
        raise click.UsageError("Name tasks, or say which with at least one filter, such as --status failed.")
    return {**({"task_ids": list(task_ids)} if task_ids else {}), **({"filter": given} if given else {})}


def with_whole_ids(api: Api, request: Mapping[str, Any]) -> dict[str, Any]:
    """The request or filter with all shortened ids completed."""
    whole = dict(request)
    if request.get("task_ids"):
        whole["task_ids"] = whole_ids(api, request["task_ids"])
    if request.get("filter"):
        whole["filter"] = with_whole_ids(api, request["filter"])
    if request.get("retry_of"):
        whole["retry_of"] = whole_id(api, request["retry_of"])
    return whole


def only_id(request: Mapping[str, Any]) -> str | None:
    """The id, if the request names exactly one task and has no filter, and the id can stand in a path."""
    task_ids = request.get("task_ids", ())
    return task_ids[0] if len(task_ids) == 1 and "filter" not in request and "/" not in task_ids[0] else None


def change_tasks(
    verb: str,
    print_one: Callable[[Mapping[str, Any]], None],
    *,
    task_ids: Sequence[str],
    force: bool,
    dry_run: bool,
    url: str | None,
    as_json: bool,
    data: Mapping[str, Any] | None = None,
    **filters: str | None,
) -> int:
    """Retry or cancel the chosen tasks through the API, and print the result.

    Args:
        verb: `retry` or `cancel`, as in the API's paths.
        print_one: Prints the answer of a request for a single task.
        task_ids: As the other arguments, what the command line says.
        data: For a retry: the merge patch of the tasks' data.

    Returns:
        1 if a task was skipped, else 0.
    """
    request = chosen_tasks(task_ids, filters)
    body = {"data": data} if data else {}
    with Api.open(url) as api:
        chosen = with_whole_ids(api, request)
        task_id = None if dry_run else only_id(chosen)
        if task_id is None:
            return ask_bulk(api, verb, {**chosen, **body, "force": force, "dry_run": dry_run}, as_json=as_json)
        parameters = {"force": str(force).lower()}
        answer = api.post(f"/tasks/{verb}/{task_path(task_id)}", body or None, parameters)
    (say_json if as_json else print_one)(answer)
    return 0


def ask_bulk(api: Api, verb: str, request: Mapping[str, Any], *, as_json: bool) -> int:
    """Send the request, follow it to its end and print the result; return 1 if a task was skipped, else 0."""
    answer = api.post(f"/tasks/batch/{verb}", request)
    if answer["status"] == RUNNING:
        answer = follow_operation(api, str(answer["operation_id"]))
    (say_json if as_json else print_outcome)(answer)
    return 0 if answer["dry_run"] or not answer["failed_count"] else 1


def follow_operation(api: Api, operation_id: str) -> dict[str, Any]:
    """Show an operation's progress until it ends; return its last state."""
    screen = Console(stderr=True)
    with Progress(*COLUMNS, console=screen, disable=not screen.is_terminal) as progress:
        bar = progress.add_task("working")
        while True:
            state = api.get(f"/operations/{operation_id}")
            progress.update(
                bar, total=max(state["total"], state["done"]), completed=state["done"], description=state["kind"]
            )
            if state["status"] != RUNNING:
                return state
            time.sleep(POLL_S)


def print_outcome(answer: Mapping[str, Any]) -> None:
    """Print the answer of a request for many tasks."""
    say(f"{answer['message']}.")
    for task_id, new_task_id in answer["retries"].items():
        say(f"  {task_id}" if answer["dry_run"] else f"  {task_id} -> {new_task_id}")
    if answer["kind"] in MAKES_TASKS and answer["success_count"] and not answer["retries"] and not answer["dry_run"]:
        say(f"The new ones: everpost list --batch-id {answer['operation_id']}")
    for passed_over in answer["errors"][:REASONS_SHOWN]:
        say(f"  {passed_over['task_id']}: {_why(passed_over, answer['kind'])}", err=True)
    more = answer["failed_count"] - REASONS_SHOWN
    if more > 0:
        say(f"  and {more} more; --json has up to 1,000 of them", err=True)


def _why(passed_over: Mapping[str, Any], kind: str) -> str:
    code = passed_over["code"]
    return f"{words_of(code, passed_over['detail'], kind)} ({code})"
