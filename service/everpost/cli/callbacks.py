"""`everpost callbacks`: what was told of an end, and telling it again, through the running API."""

import click

from everpost.cli.client import Api, task_path
from everpost.cli.ids import whole_id
from everpost.cli.options import api_options
from everpost.cli.output import say, say_json

EXAMPLES = """\b
Examples:
  everpost callbacks list TASK_ID
  everpost callbacks redeliver CALLBACK_ID
"""


@click.group(epilog=EXAMPLES)
def callbacks() -> None:
    """The callbacks about tasks, batches and fan-outs: their deliveries, and redelivery."""


@callbacks.command(name="list")
@click.argument("about")
@api_options
def list_callbacks(about: str, url: str | None, as_json: bool) -> None:
    """List the callbacks about ABOUT, the id of a task, a batch or a fan-out, with each attempt."""
    with Api.open(url) as api:
        answer = api.get("/callbacks", {"about": whole_id(api, about)})
    if as_json:
        say_json(answer)
        return
    for callback in answer["data"]:
        say(f"{callback['callback_id']}  {callback['type']}  {callback['status']}  {callback['url']}")
        for attempt in callback["attempts"]:
            told = attempt.get("error") or attempt.get("outcome")
            say(f"  {attempt.get('number')}  {attempt.get('finished_at') or attempt.get('started_at')}  {told}")
    if not answer["data"]:
        say("No callback was made about it.")


@callbacks.command(name="redeliver")
@click.argument("callback_id")
@api_options
def redeliver_callback(callback_id: str, url: str | None, as_json: bool) -> None:
    """Send a callback again, with the same webhook-id and body."""
    with Api.open(url) as api:
        answer = api.post(f"/callbacks/{task_path(callback_id)}/redeliver")
    if as_json:
        say_json(answer)
    else:
        say(f"{answer['message']}: {answer['callback_id']}")
