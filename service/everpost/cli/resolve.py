"""`everpost resolve`: deciding about tasks whose outcome is unknown, through the API."""

import getpass
from collections.abc import Sequence

import click

from everpost.cli.bulk import ask_bulk, chosen_tasks, only_id, with_whole_ids
from everpost.cli.client import Api, task_path
from everpost.cli.options import api_options, filter_options, task_id_argument
from everpost.cli.output import say, say_json

EXAMPLES = """\b
Examples:
  everpost list --status unknown
  everpost resolve TASK_ID --succeeded --why "it is in the timeline" --publish-url https://example.org/17
  everpost resolve TASK_ID --send-again --why "nothing in the timeline"
  everpost resolve --status unknown --account-id shop --succeeded --why "all are there" --dry-run
"""

ONE_POST = "--provider-post-id and --publish-url describe one post: pass one TASK_ID, and no filters and no --dry-run."


def user_name() -> str:
    """The name of the user who runs the command.

    Raises:
        click.UsageError: The system has no name for the user, for example in a container with an unknown user id.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise click.UsageError("You have no user name here: pass --by NAME to say who decides.") from error


@click.command(epilog=EXAMPLES)
@task_id_argument("task_ids", many=True)
@filter_options
@click.option("--succeeded", is_flag=True, help="The post is there.")
@click.option("--send-again", is_flag=True, help="The post is not there: run the task again as a new one.")
@click.option("--why", metavar="TEXT", required=True, help="The reason; kept for ever.")
@click.option("--by", metavar="NAME", default=user_name, help="Who decides; default: your user name.")
@click.option("--provider-post-id", metavar="TEXT", help="The platform's own id of the post; for one task.")
@click.option("--publish-url", metavar="URL", help="Where the post can be seen; for one task.")
@click.option("--dry-run", is_flag=True, help="Only print about which tasks this would decide.")
@api_options
def resolve(
    task_ids: Sequence[str],
    succeeded: bool,
    send_again: bool,
    why: str,
    by: str,
    provider_post_id: str | None,
    publish_url: str | None,
    dry_run: bool,
    url: str | None,
    as_json: bool,
    **filters: str | None,
) -> int:
    """Decide about unknown tasks after you have looked at the platform; the first decision counts.

    Pass either --succeeded or --send-again. TASK_ID is an id or a beginning that only this task has. With many ids,
    filters, or both, the same decision is made about each task. Exits with 1 if a task was left out.
    """
    if succeeded == send_again:
        raise click.UsageError("Pass either --succeeded or --send-again.", click.get_current_context())
    post = {"provider_post_id": provider_post_id, "publish_url": publish_url}
    given = {"decision": "succeeded" if succeeded else "send_again", "why": why, "by": by}
    given |= {name: value for name, value in post.items() if value is not None}
    request = chosen_tasks(task_ids, filters)
    with Api.open(url) as api:
        chosen = with_whole_ids(api, request)
        task_id = None if dry_run else only_id(chosen)
        if task_id is None:
            if any(value is not None for value in post.values()):
                raise click.UsageError(ONE_POST, click.get_current_context())
            return ask_bulk(api, "resolve", {**chosen, **given, "dry_run": dry_run}, as_json=as_json)
        answer = api.post(f"/tasks/{task_path(task_id)}/resolve", given)
    if as_json:
        say_json(answer)
        return 0
    new_task_id = answer["data"]["new_task_id"]
    say(f"{answer['message']}: {new_task_id}" if new_task_id else answer["message"])
    return 0
