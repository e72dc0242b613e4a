"""`everpost keys`: API keys, through the running API."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everpost.access import Role
from everpost.cli.client import Api, task_path
from everpost.cli.options import api_options
from everpost.cli.output import say, say_json
from everpost.cli.screen import console
from everpost.printable import printable

DAY_S = 86_400
EXAMPLES = """\b
Examples:
  everpost keys create ops --role admin
  everpost keys create shop --role publisher --platform douyin --account bilibili/studio --rate 10/1
  everpost keys rotate shop --overlap-days 2
  everpost keys revoke evp_k3x9a0qz
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def keys() -> None:
    """Make, list, rotate and revoke API keys. It needs EVERPOST_TOKEN, or EVERPOST_KEY with the key of an admin.

    A key is shown once, when it is made. From the first key on, every request needs a key or EVERPOST_TOKEN.
    """


@keys.command()
@click.argument("name")
@click.option("--role", type=click.Choice([*map(str, Role)]), required=True, help="What it may do.")
@click.option("--platform", "platforms", metavar="PLATFORM", multiple=True, help="Reach only this. Can be repeated.")
@click.option("--account", "accounts", metavar="PLATFORM/ACCOUNT", multiple=True, help="Reach this. Can be repeated.")
@click.option("--rate", metavar="COUNT/SECONDS", help="The most requests, such as 10/1.")
@click.option("--expires-days", type=click.FloatRange(min=0, min_open=True), help="Days until it expires.")
@api_options
def create(
    name: str,
    role: str,
    platforms: Sequence[str],
    accounts: Sequence[str],
    rate: str | None,
    expires_days: float | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Make a key for NAME, and print it: this once only."""
    body: dict[str, Any] = {"name": name, "role": role, "platforms": [*platforms], "accounts": [*accounts]}
    body |= {} if rate is None else {"rate": _rate(rate)}
    body |= {} if expires_days is None else {"expires_in_s": expires_days * DAY_S}
    with Api.open(url) as api:
        _tell_new(api.post("/keys", body), as_json=as_json)


@keys.command("list")
@api_options
def list_keys(url: str | None, as_json: bool) -> None:
    """List the keys, the newest first, also those that are not valid any more."""
    with Api.open(url) as api:
        answer = api.get("/keys")
    if as_json:
        say_json(answer)
    else:
        _print_keys(console(), answer["data"])


@keys.command()
@click.argument("key")
@click.option("--overlap-days", type=click.FloatRange(min=0), default=7.0, show_default=True, help="Both are valid.")
@api_options
def rotate(key: str, overlap_days: float, url: str | None, as_json: bool) -> None:
    """Make a key in place of KEY (an id, prefix or name), with its role and scope, and print it."""
    with Api.open(url) as api:
        _tell_new(api.post(f"{_path(key)}/rotate", {"overlap_s": overlap_days * DAY_S}), as_json=as_json)


@keys.command()
@click.argument("key")
@api_options
def revoke(key: str, url: str | None, as_json: bool) -> None:
    """Refuse KEY (an id, prefix or name) from now on."""
    with Api.open(url) as api:
        answer = api.delete(_path(key))
    if as_json:
        say_json(answer)
    else:
        say(f"{answer['message']}: {answer['data']['prefix']}… of {answer['data']['name']}")


@keys.command()
@api_options
def whoami(url: str | None, as_json: bool) -> None:
    """Show who you are to the API, and what you may do."""
    with Api.open(url) as api:
        answer = api.get("/whoami")
    if as_json:
        say_json(answer)
        return
    say(f"{answer['name']}: {answer['role']} ({', '.join(answer['rights'])})")
    if reached := [*answer["platforms"], *answer["accounts"]]:
        say(f"reaches: {', '.join(reached)}")


def _path(key: str) -> str:
    return f"/keys/{task_path(key)}"


def _rate(text: str) -> dict[str, float]:
    count, slash, per_s = text.partition("/")
    try:
        return {"count": int(count), "per_s": float(per_s if slash else 1)}
    except ValueError:
        raise click.UsageError("Write --rate COUNT/SECONDS, such as 10/1.", click.get_current_context()) from None


def _tell_new(answer: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(answer)
        return
    say(answer["key"])
    say(f"{answer['message']} for {answer['data']['name']}. It is not shown again.", err=True)


def _print_keys(screen: Console, found: Sequence[Mapping[str, Any]]) -> None:
    if not found:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("key", "name", "role", "reaches", "created", "last used", "until"):
        table.add_column(title, overflow="fold")
    for key in found:
        reached = ", ".join([*key["platforms"], *key["accounts"]])
        until = f"revoked {key['revoked_at']}" if key["revoked_at"] else key["expires_at"] or ""
        texts = (f"{key['prefix']}…", key["name"], key["role"], reached, key["created_at"], key["last_used_at"], until)
        table.add_row(*(escape(printable(text or "")) for text in texts), style="dim" if key["revoked_at"] else "")
    screen.print(table)
