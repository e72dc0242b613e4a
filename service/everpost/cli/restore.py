"""`everpost restore` and `resume`: put a backup in the database's place, and end the pause that follows."""

import asyncio
from pathlib import Path

import click

from everpost.actions.resume import Unfinished
from everpost.cli.audited import keep_entry_at
from everpost.cli.client import Api
from everpost.cli.options import api_options, database_options, database_settings
from everpost.cli.output import say, say_json
from everpost.clock import system_clock
from everpost.store import maintenance_of
from everpost.store.pause import Pause


@click.command(epilog="\b\nExample:\n  everpost restore /srv/backup/everpost-2026-01-31.db")
@click.argument("backup", type=click.Path(path_type=Path), metavar="BACKUP")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")
@database_options
def restore(backup: Path, as_json: bool, data: str | None, database: str | None) -> None:
    """Put a copy of a backup in the database's place; stop Everpost first.

    The whole backup is checked before anything is changed, and the old file is kept beside the new one. Tasks that were
    unfinished in the backup may have been published since. So Everpost then starts paused: it accepts tasks, but sends
    none until `everpost resume`.
    """
    settings = database_settings(data, database)
    place = maintenance_of(settings.database_address)
    pause = place.restore(backup, system_clock())
    asyncio.run(keep_entry_at(settings.database_address, "restore", str(backup)))
    if as_json:
        say_json(pause)
        return
    say(f"{place.name}: restored from {backup}, checked.")
    for line in _lines_of(pause):
        say(f"  {line}")
    say("Start Everpost; it accepts tasks, but sends none until `everpost resume`.")


def _lines_of(pause: Pause) -> list[str]:
    lines = [
        f"newest row: {pause.newest_at or 'none'}; later changes are not in the backup",
        f"{pause.ended} tasks have ended, {pause.scheduled} are due later",
        f"{pause.sending} were being sent when it was made: they are now unknown",
        f"{pause.held} were unfinished and may have been sent since: they are held",
    ]
    if pause.operations:
        lines.append(f"{pause.operations} bulk requests were unfinished: they are given up")
    if pause.left_out:
        lines.append(f"left out, because Everpost did not make them: {', '.join(pause.left_out)}")
    if pause.replaced:
        lines.append(f"the old file is now {pause.replaced}")
    return lines


@click.command(
    epilog="\b\nExamples:\n  everpost resume --dry-run\n  everpost resume\n  everpost resume --unfinished run"
)
@click.option(
    "--unfinished",
    type=click.Choice([choice.value for choice in Unfinished]),
    default=Unfinished.UNKNOWN.value,
    show_default=True,
    help="What happens to tasks that may have been sent since the backup. unknown: a person decides about each; "
    "run: they are sent, some perhaps a second time.",
)
@click.option("--dry-run", is_flag=True, help="Only print what would happen.")
@api_options
def resume(unfinished: str, dry_run: bool, url: str | None, as_json: bool) -> None:
    """End the pause after a backup was restored: workers take tasks again.

    Redis is asked first. Tasks it knows to be published become successes, and tasks that only Redis knows are recorded.
    Tasks accepted since the restore run in any case.
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
            f"  held: {resumed['succeeded']} published, according to Redis; {resumed['unknown']} unknown; "
            f"{resumed['released']} to run",
            f"  only in Redis: {resumed['recovered']} recorded",
        )
    if resumed["unknown"] or resumed["recovered"]:
        say("Look at these: everpost list --status unknown --error-class restored")
