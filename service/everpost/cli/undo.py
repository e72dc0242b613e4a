"""`everpost undo`: undoing bulk work, through the API."""

import click

from everpost.cli.bulk import follow_operation, print_outcome
from everpost.cli.client import Api, task_path
from everpost.cli.options import api_options
from everpost.cli.output import say, say_json


@click.command(epilog="\b\nExamples:\n  everpost undo OPERATION_ID\n  everpost undo OPERATION_ID --json")
@click.argument("operation_id", metavar="OPERATION_ID")
@api_options
def undo(operation_id: str, url: str | None, as_json: bool) -> int:
    """Undo a bulk cancellation or removal.

    Tasks that it cancelled are retried, each once, however often this is asked for; those that were
    retried since are left out. Tasks that it removed come back from the archive. OPERATION_ID is what the bulk work has
    answered. Exits with 1 if a task was left out.
    """
    path = f"/operations/{task_path(operation_id)}"
    with Api.open(url) as api:
        answer = api.post(f"{path}/undo")
        if answer["operation_id"] is not None:
            state = follow_operation(api, str(answer["operation_id"]))
            (say_json if as_json else print_outcome)(state)
            return 1 if state["failed_count"] else 0
        total = answer["brought_back"]
        while not answer["is_whole"]:
            answer = api.post(f"{path}/undo")
            total += answer["brought_back"]
    if as_json:
        say_json({**answer, "brought_back": total})
    else:
        say(f"{total} tasks brought back.")
    return 0
