"""`everpost resolve`: deciding about a task whose outcome is unknown, through the API."""

import getpass

import click

from everpost.cli.client import Api, task_path
from everpost.cli.ids import whole_id
from everpost.cli.options import api_options, task_id_argument
from everpost.cli.output import say, say_json

EXAMPLES = """\b
Examples:
  everpost list --status unknown
  everpost resolve TASK_ID --succeeded --why "it is in the timeline" --publish-url https://example.org/17
  everpost resolve TASK_ID --send-again --why "nothing in the timeline"
"""


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
@task_id_argument()
@click.option("--succeeded", is_flag=True, help="The post is there.")
@click.option("--send-again", is_flag=True, help="The post is not there: run the task again as a new one.")
@click.option("--why", metavar="TEXT", required=True, help="The reason; kept for ever.")
@click.option("--by", metavar="NAME", default=user_name, help="Who decides; default: your user name.")
@click.option("--provider-post-id", metavar="TEXT", help="The platform's own id of the post.")
@click.option("--publish-url", metavar="URL", help="Where the post can be seen.")
@api_options
def resolve(
    task_id: str, succeeded: bool, send_again: bool, url: str | None, as_json: bool, **body: str | None
) -> None:
    """Decide about an unknown task after you have looked at the platform; the first decision counts.

    Pass either --succeeded or --send-again. TASK_ID is an id or a beginning that only this task has.
    """
    if succeeded == send_again:
        raise click.UsageError("Pass either --succeeded or --send-again.", click.get_current_context())
    given = {name: value for name, value in body.items() if value is not None}
    given["decision"] = "succeeded" if succeeded else "send_again"
    with Api.open(url) as api:
        answer = api.post(f"/tasks/{task_path(whole_id(api, task_id))}/resolve", given)
    if as_json:
        say_json(answer)
        return
    new_task_id = answer["data"]["new_task_id"]
    say(f"{answer['message']}: {new_task_id}" if new_task_id else answer["message"])
