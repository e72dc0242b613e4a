"""`everpost limits`: showing and changing limits, and pausing platforms and accounts, through the API."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from everpost.cli.client import Api
from everpost.cli.options import api_options, complete_platform
from everpost.cli.output import say, say_json
from everpost.cli.resolve import user_name

Command = TypeVar("Command", bound=Callable[..., Any])

EXAMPLES = """\b
Examples:
  everpost limits
  everpost limits set --platform douyin --account-id shop --concurrency 1 --rate 10/3600
  everpost limits set --platform douyin --each-account --daily 50 --gap 60
  everpost limits set --platform douyin --catalogue
  everpost limits pause --platform douyin --reason "their API is down"
  everpost limits resume --platform douyin
"""
KEPT = {"concurrency": "at once", "gap_s": "s apart", "daily": "a day"}


def scope_options(command: Command) -> Command:
    """`--platform` and `--account-id`; without a platform, everything is meant."""
    account = click.option("--account-id", metavar="TEXT", help="One account of the platform.")
    platform = click.option(
        "--platform",
        metavar="TEXT",
        shell_complete=complete_platform,
        help="The platform: its id, name or alias; without it, all platforms together.",
    )
    return platform(account(command))


class RateType(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """COUNT/SECONDS."""

    name = "COUNT/SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int | float]:
        """The rate as the API takes it."""
        count, _, per_s = str(value).partition("/")
        try:
            return {"count": int(count), "per_s": float(per_s)}
        except ValueError:
            self.fail(f"{value!r} is not COUNT/SECONDS, such as 10/3600.", param, ctx)


@click.group(invoke_without_command=True, epilog=EXAMPLES)
@api_options
@click.pass_context
def limits(ctx: click.Context, url: str | None, as_json: bool) -> None:
    """Show the limits of platforms and accounts, and how many tasks wait for them; or change them.

    Tasks that wait for a limit or a pause spend no attempt. A change holds for all workers within a second.
    """
    if ctx.invoked_subcommand is not None:
        return
    with Api.open(url) as api:
        answer = api.get("/limits")
    if as_json:
        say_json(answer)
        return
    for scope in answer["data"]:
        say(line_of(scope))
    if answer["parked"] is None:
        say("Redis does not answer, so it is not known how many tasks wait.")
    else:
        say(f"{answer['parked']} tasks wait for limits and pauses")


def line_of(shown: Mapping[str, Any]) -> str:
    """One scope: its limits, its hold, and what waits."""
    limits, use = shown["limits"], shown["use"] or {}
    told = [f"{limits[name]:g} {unit}" for name, unit in KEPT.items() if limits.get(name) is not None]
    told += [f"{rate['count']} in {rate['per_s']:g} s" for rate in limits.get("rates", ())]
    parts = [", ".join(told) or "no limit"]
    if hold := shown["hold"]:
        parts.append(f"{hold['kind']} by {hold.get('by') or 'Everpost'}: {hold['reason']}")
    if use.get("running") or use.get("used_today"):
        parts.append(f"{use['running']} running, {use['used_today']} today")
    if use.get("waiting"):
        until = f" until {use['until']}" if use.get("until") else ""
        parts.append(f"{use['waiting']} wait ({use['kind']}{until})")
    return f"{name_of(shown['scope'])}: {'; '.join(parts)}"


def name_of(scope: str) -> str:
    """A scope in words."""
    if scope == "*":
        return "everything"
    return f"each account of {scope[1:]}" if scope.startswith("/") else scope


@limits.command("set")
@scope_options
@click.option("--each-account", is_flag=True, help="Each account of the platform, instead of the platform as a whole.")
@click.option("--concurrency", type=click.IntRange(1), metavar="NUMBER", help="How many posts may run at once.")
@click.option("--rate", "rates", type=RateType(), multiple=True, help="How many may begin in so many seconds.")
@click.option("--gap", "gap_s", type=click.FloatRange(0.001), metavar="SECONDS", help="The least time between two.")
@click.option("--daily", type=click.IntRange(1), metavar="NUMBER", help="How many may begin on a day.")
@click.option("--catalogue", is_flag=True, help="Go back to the limits of the catalogue.")
@click.option("--none", "no_limits", is_flag=True, help="No limit, whatever the catalogue says.")
@api_options
def set_limits(
    platform: str | None,
    account_id: str | None,
    each_account: bool,
    catalogue: bool,
    no_limits: bool,
    url: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Set the limits of a scope; they replace those that hold."""
    wanted = {name: value for name, value in given.items() if value not in (None, ())}
    if (bool(wanted), catalogue, no_limits).count(True) != 1:
        raise click.UsageError("Pass limits, --catalogue or --none.", click.get_current_context())
    body: dict[str, Any] = {"each_account": each_account, "limits": None if catalogue else wanted}
    with Api.open(url) as api:
        answer = api.put("/limits", body | _scope(platform, account_id))
    _tell(answer, as_json=as_json)


@limits.command()
@scope_options
@click.option("--reason", metavar="TEXT", required=True, help="Shown with each task that waits.")
@click.option("--by", metavar="NAME", default=user_name, help="Who pauses it; default: your user name.")
@api_options
def pause(platform: str | None, account_id: str | None, reason: str, by: str, url: str | None, as_json: bool) -> None:
    """Let no task of a platform or an account begin; its tasks wait until it is resumed."""
    with Api.open(url) as api:
        answer = api.post("/limits/pause", {"reason": reason, "by": by} | _scope(platform, account_id))
    _tell(answer, as_json=as_json)


@limits.command()
@scope_options
@api_options
def resume(platform: str | None, account_id: str | None, url: str | None, as_json: bool) -> None:
    """Let the tasks of a platform or an account begin again."""
    with Api.open(url) as api:
        answer = api.post("/limits/resume", _scope(platform, account_id))
    _tell(answer, as_json=as_json)


def _scope(platform: str | None, account_id: str | None) -> dict[str, str]:
    given = {"platform": platform, "account_id": account_id}
    return {name: value for name, value in given.items() if value is not None}


def _tell(answer: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(answer)
    else:
        say(f"{answer['message']}: {name_of(answer['scope'])}")
