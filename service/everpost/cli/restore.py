"""`everpost restore` and `resume`: a backup takes the database's place, and later tasks are sent again."""

from pathlib import Path

import click

from everpost.actions.resume import Unfinished
from everpost.cli.client import Api
from everpost.cli.options import api_options, database_options, database_settings
from everpost.cli.output import say, say_json
from everpost.clock import system_clock
from everpost.store.pause import Pause
from everpost.store.sqlite.care.restore import restore_database


@click.command(epilog="\b\nExample:\n  everpost restore /srv/backup/everpost-2026-01-31.db")
@click.argument("backup", type=click.Path(path_type=Path), metavar="BACKUP")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")
@database_options
def restore(backup: Path, as_json: bool, data: str | None, database: str | None) -> None:
    """Put a copy of a backup in the database's place; stop Everpost first.

    The backup is read whole before anything is changed, and the file that was there is kept beside it. The backup is of
    the past: what it holds as unfinished may have been published since. So Everpost then starts paused, accepts tasks
    and sends none, until `everpost resume`.
    """
    settings = database_settings(data, database)
    pause = restore_database(backup, settings.database_path, system_clock())
    if as_json:
        say_json(pause)
        return
    say(f"{settings.database_path}: restored from {backup}, checked.")
    for line in _lines_of(pause):
        say(f"  {line}")
    say("Start Everpost; it accepts tasks and sends none until `everpost resume`.")


def _lines_of(pause: Pause) -> list[str]:
    lines = [
        f"newest row: {pause.newest_at or 'none'}; what happened since is not in it",
        f"{pause.ended} tasks have ended, {pause.scheduled} are due later",
        f"{pause.sending} were being sent when it was made: they are unknown now",
        f"{pause.held} were unfinished, and may have been sent since: they are held",
    ]
    if pause.operations:
        lines.append(f"{pause.operations} bulk requests were under way: given up")
    if pause.left_out:
        lines.append(f"not Everpost's, and left out: {', '.join(pause.left_out)}")
    if pause.replaced:
        lines.append(f"the file that was there: {pause.replaced}")
    return lines


@click.command(
    epilog="\b\nExamples:\n  everpost resume --dry-run\n  everpost resume\n  everpost resume --unfinished run"
)
@click.option(
    "--unfinished",
    type=click.Choice([choice.value for choice in Unfinished]),
    default=Unfinished.UNKNOWN.value,
    show_default=True,
    help="What becomes of tasks that may have been sent since the backup. unknown: a person decides over each; "
    "run: they are sent, some perhaps a second time.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would become of them.")
@api_options
def resume(unfinished: str, dry_run: bool, url: str | None, as_json: bool) -> None:
    """Let tasks be sent again after a backup was restored.

    Redis is asked first: what it knows to be published becomes a success, and tasks only it has heard of are written
    down. Tasks accepted since the restore run in any case.
    """
    with Api.open(url) as api:
        answer = api.post("/dispatch/resume", parameters={"unfinished": unfinished, "dry_run": str(dry_run).lower()})
    if as_json:
        say_json(answer)
        return
    say(f"{answer['message']}.")
    resumed = answer["resumed"]
    if resumed["pause"] is not None:
        say(
            f"  held: {resumed['succeeded']} published, as Redis knows; {resumed['unknown']} unknown; "
            f"{resumed['released']} to run",
            f"  in Redis alone: {resumed['recovered']} written down",
        )
    if resumed["unknown"] or resumed["recovered"]:
        say("To look at: everpost list --status unknown --error-class restored")
