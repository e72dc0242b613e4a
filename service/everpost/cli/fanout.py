"""`everpost fanout`: one content for many accounts, through the running API."""

from collections.abc import Mapping
from typing import IO, Any

import click
import msgspec

from everpost.cli.bulk import RUNNING, follow_operation, print_outcome
from everpost.cli.client import Api, task_path
from everpost.cli.options import api_options
from everpost.cli.output import say, say_json

EXAMPLES = """\b
Examples:
  everpost fanout post FILE.json
  everpost fanout show FANOUT_ID
  everpost fanout retry FANOUT_ID
"""


@click.group(epilog=EXAMPLES)
def fanout() -> None:
    """Publish one content to many accounts, and look at all of them as one."""


@fanout.command(name="post")
@click.argument("file", type=click.File("rb"))
@click.option("--key", metavar="TEXT", help="An Idempotency-Key: repeated with it, the fan-out is made once.")
@api_options
def post_fanout(file: IO[bytes], key: str | None, url: str | None, as_json: bool) -> int:
    """Post the fan-out in FILE (- is the standard input): the JSON body of POST /publish/fanout.

    Exits with 1 if an account was rejected.
    """
    try:
        body = msgspec.json.decode(file.read(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise click.UsageError(f"{file.name}: is not a JSON object: {error}") from error
    with Api.open(url) as api:
        answer = api.post("/publish/fanout", body, headers={} if key is None else {"Idempotency-Key": key})
    if as_json:
        say_json(answer)
    else:
        say(f"{answer['message']}: {answer['fanout_id']}")
        for result in answer["results"]:
            _print_account(result, str(result.get("task_id") or "rejected"))
    return 1 if answer["rejected"] else 0


@fanout.command(name="show")
@click.argument("fanout_id")
@api_options
def show_fanout(fanout_id: str, url: str | None, as_json: bool) -> None:
    """Show a fan-out: its status, and each account with its newest task."""
    with Api.open(url) as api:
        answer = api.get(f"/publish/fanout/{task_path(fanout_id)}")
    if as_json:
        say_json(answer)
        return
    shown = answer["data"]
    counted = ", ".join(f"{count} {status}" for status, count in shown["counts"].items() if count)
    say(f"{shown['status']}: {counted}")
    for account in shown["accounts"]:
        _print_account(account, f"{account['status']:9}  {account.get('task_id', '')}")


@fanout.command(name="retry")
@click.argument("fanout_id")
@click.option("--force", is_flag=True, help="Also retry accounts whose outcome is unknown.")
@api_options
def retry_fanout(fanout_id: str, force: bool, url: str | None, as_json: bool) -> int:
    """Retry the accounts of a fan-out whose newest task has failed. Exits with 1 if one could not be retried."""
    return _change(f"/publish/fanout/{task_path(fanout_id)}/retry", force=force, url=url, as_json=as_json)


@fanout.command(name="cancel")
@click.argument("fanout_id")
@click.option("--force", is_flag=True, help="Also ask the workers to stop running tasks.")
@api_options
def cancel_fanout(fanout_id: str, force: bool, url: str | None, as_json: bool) -> int:
    """Cancel the tasks of a fan-out that have not run. Exits with 1 if one could not be cancelled."""
    return _change(f"/publish/fanout/{task_path(fanout_id)}/cancel", force=force, url=url, as_json=as_json)


def _change(path: str, *, force: bool, url: str | None, as_json: bool) -> int:
    with Api.open(url) as api:
        answer = api.post(path, parameters={"force": str(force).lower()})
        if answer["status"] == RUNNING:
            answer = follow_operation(api, str(answer["operation_id"]))
    (say_json if as_json else print_outcome)(answer)
    return 1 if answer["failed_count"] else 0


def _print_account(account: Mapping[str, Any], told: str) -> None:
    name = f"{account.get('platform')} {account.get('account_id')}"
    why = account.get("message") or account.get("error_message") or account.get("publish_url") or ""
    say(f"  {told}  {name}  {why}".rstrip())
