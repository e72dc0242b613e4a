"""Requests for many tasks at once: choosing them, following the work, telling how it went."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.cli.client import Api
from service.cli.screen import as_json_text

POLL_S = 0.2
REASONS_SHOWN = 20


def chosen_tasks(task_ids: Sequence[str], filters: Mapping[str, str | None]) -> dict[str, Any]:
    """The members `task_ids` and `filter` of a request.

    Raises:
        click.UsageError: Nothing was chosen, which would be everything.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    if not task_ids and not given:
        raise click.UsageError("Name tasks, or say which with at least one filter, such as --status failed.")
    return {**({"task_ids": list(task_ids)} if task_ids else {}), **({"filter": given} if given else {})}


def ask_bulk(api: Api, path: str, request: Mapping[str, Any], *, as_json: bool) -> int:
    """Send it, follow it to its end, print how it went; 1 if a task was left out, else 0."""
    answer = api.post(path, request)
    operation_id = answer.get("operation_id")
    if operation_id is not None:
        answer = follow_operation(api, str(operation_id))
    if as_json:
        click.echo(as_json_text(answer))
    else:
        _print_outcome(answer)
    return 1 if answer.get("failed_count") or answer.get("status") == "failed" else 0


def follow_operation(api: Api, operation_id: str) -> dict[str, Any]:
    """Show an operation's progress until it ends; its last state."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("working")
        while True:
            state = _operation(api, operation_id)
            progress.update(bar, total=state["total"], completed=state["done"], description=str(state["kind"]))
            if state["status"] != "running":
                return state
            time.sleep(POLL_S)


def _operation(api: Api, operation_id: str) -> dict[str, Any]:
    answer = api.get(f"/operations/{operation_id}")
    return cast("dict[str, Any]", answer.get("data", answer))


def _print_outcome(answer: Mapping[str, Any]) -> None:
    click.echo(answer.get("message") or _counts(answer))
    for task_id in answer.get("new_task_ids") or []:
        click.echo(f"  {task_id}")
    refusals = answer.get("errors") or []
    for refusal in refusals[:REASONS_SHOWN]:
        click.echo(f"  {_refusal(refusal)}", err=True)
    if len(refusals) > REASONS_SHOWN:
        click.echo(f"  and {len(refusals) - REASONS_SHOWN} more; --json lists them all", err=True)


def _counts(state: Mapping[str, Any]) -> str:
    return f"{state.get('succeeded', 0)} of {state.get('total', 0)} tasks: {state.get('status', 'done')}"


def _refusal(refusal: object) -> str:
    if not isinstance(refusal, Mapping):
        return str(refusal)
    return f"{refusal.get('task_id', '')}: {refusal.get('detail') or refusal.get('error') or refusal.get('code', '')}"
