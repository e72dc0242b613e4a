"""`everpost accounts`: the registered accounts, through the running API."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everpost.cli.client import Api, task_path
from everpost.cli.options import api_options
from everpost.cli.output import say, say_json
from everpost.cli.screen import console
from everpost.credentials.vault import new_key
from everpost.printable import printable
from everpost.task.account_rules import AccountStatus

Command = TypeVar("Command", bound=Callable[..., Any])

PAGE = 200
STATUS_STYLES = {"active": "green", "paused": "yellow", "held": "red", "blocked": "red"}
EXAMPLES = """\b
Examples:
  everpost accounts add douyin studio --credential cookies=file:douyin/studio.json --timezone Asia/Shanghai
  everpost accounts test douyin studio
  everpost accounts pause douyin studio --reason "the campaign is postponed"
  everpost accounts list --status held
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def accounts() -> None:
    """Register, test, pause and resume the accounts that tasks are published with.

    Credentials are references: env:EVERPOST_ACCOUNT_NAME is an environment variable of the workers, file:NAME a file in
    their folder EVERPOST_SECRETS. A secret itself is never sent.
    """


def account_arguments(command: Command) -> Command:
    """The arguments PLATFORM and ACCOUNT, as `platform` and `account_id`."""
    command = click.argument("account_id", metavar="ACCOUNT")(command)
    return click.argument("platform", metavar="PLATFORM")(command)


def field_options(command: Command) -> Command:
    """The options of what people set of an account."""
    pairs = {
        "--credential": ("credentials", "NAME=REFERENCE", "Where a secret is, such as token=env:EVERPOST_ACCOUNT_X."),
        "--option": ("options", "NAME=VALUE", "An option for the publisher; not secret. JSON, or else text."),
    }
    for flag, (name, metavar, text) in reversed(pairs.items()):
        command = click.option(flag, name, metavar=metavar, multiple=True, help=f"{text} Can be repeated.")(command)
    command = click.option("--timezone", metavar="ZONE", help="The account's IANA time zone.")(command)
    return click.option("--title", metavar="TEXT", help="The name people see.")(command)


@accounts.command("list")
@click.option("--platform", metavar="TEXT", help="Accounts of this platform: its id, name or alias.")
@click.option("--status", type=click.Choice([*map(str, AccountStatus)]), help="Accounts with this status.")
@api_options
def list_accounts(platform: str | None, status: str | None, url: str | None, as_json: bool) -> None:
    """List the registered accounts."""
    wanted = {"platform": platform, "status": status, "limit": PAGE}
    with Api.open(url) as api:
        found = list(_all(api, wanted))
    if as_json:
        say_json({"success": True, "data": found, "next_cursor": None})
    else:
        _print_accounts(console(), found)


def _all(api: Api, wanted: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    cursor = None
    while True:
        answer = api.get("/accounts", {**wanted, "cursor": cursor})
        yield from answer["data"]
        cursor = answer["next_cursor"]
        if cursor is None:
            return


@accounts.command()
@account_arguments
@api_options
def show(platform: str, account_id: str, url: str | None, as_json: bool) -> None:
    """Show one account: its references, its status and its last test."""
    with Api.open(url) as api:
        answer = api.get(_path(platform, account_id))
    _tell(answer, as_json=as_json, is_whole=True)


@accounts.command()
@account_arguments
@field_options
@api_options
def add(platform: str, account_id: str, url: str | None, as_json: bool, **fields: Any) -> None:
    """Register an account of a platform."""
    body = {"platform": platform, "account_id": account_id, **_given(**fields)}
    with Api.open(url) as api:
        _tell(api.post("/accounts", body), as_json=as_json)


@accounts.command()
@account_arguments
@field_options
@api_options
def change(platform: str, account_id: str, url: str | None, as_json: bool, **fields: Any) -> None:
    """Replace the given fields; all credentials or options together."""
    body = _given(**fields)
    if not body:
        raise click.UsageError("Say what to change, such as --timezone.", click.get_current_context())
    with Api.open(url) as api:
        _tell(api.patch(_path(platform, account_id), body), as_json=as_json)


@accounts.command()
@account_arguments
@api_options
def test(platform: str, account_id: str, url: str | None, as_json: bool) -> int:
    """Have a worker test the account: its references, and whether the platform accepts them. Exits with 1 if not."""
    with Api.open(url) as api:
        answer = api.post(f"{_path(platform, account_id)}/test")
    _tell(answer, as_json=as_json, is_whole=True)
    return 0 if answer["data"]["test"]["ok"] else 1


@accounts.command()
@account_arguments
@click.option("--reason", metavar="TEXT", help="Why; shown with its tasks.")
@api_options
def pause(platform: str, account_id: str, reason: str | None, url: str | None, as_json: bool) -> None:
    """Let the account's tasks wait, until it is resumed."""
    with Api.open(url) as api:
        _tell(api.post(f"{_path(platform, account_id)}/pause", {"reason": reason}), as_json=as_json)


@accounts.command()
@account_arguments
@api_options
def resume(platform: str, account_id: str, url: str | None, as_json: bool) -> None:
    """Let the account's tasks go on, also if a failure put it on hold."""
    with Api.open(url) as api:
        _tell(api.post(f"{_path(platform, account_id)}/resume"), as_json=as_json)


@accounts.command()
@account_arguments
@api_options
def remove(platform: str, account_id: str, url: str | None, as_json: bool) -> None:
    """Forget an account and its stored tokens."""
    with Api.open(url) as api:
        _tell(api.delete(_path(platform, account_id)), as_json=as_json)


@accounts.command("new-key")
def print_new_key() -> None:
    """Print a new key for EVERPOST_SECRET_KEY.

    To replace a key, put the new one first: EVERPOST_SECRET_KEY=NEW,OLD. The workers encrypt all tokens anew, and
    `everpost doctor` says when the old key is no longer needed.
    """
    say(new_key())


def _path(platform: str, account_id: str) -> str:
    return f"/accounts/{task_path(platform)}/{task_path(account_id)}"


def _given(
    *, title: str | None, timezone: str | None, credentials: Sequence[str], options: Sequence[str]
) -> dict[str, Any]:
    """The fields that were given, as the API takes them."""
    given: dict[str, Any] = {"title": title, "timezone": timezone}
    given |= {"credentials": dict(_pairs(credentials)) or None}
    given |= {"options": {name: _value(text) for name, text in _pairs(options)} or None}
    return {name: value for name, value in given.items() if value is not None}


def _pairs(given: Sequence[str]) -> Iterator[tuple[str, str]]:
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError("Write NAME=VALUE.", click.get_current_context())  # the value may be a secret
        yield name, value


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _tell(answer: Mapping[str, Any], *, as_json: bool, is_whole: bool = False) -> None:
    if as_json:
        say_json(answer)
        return
    say(answer["message"])
    if is_whole:
        for line in _lines_of(answer["data"]):
            say(line)


def _lines_of(account: Mapping[str, Any]) -> Iterator[str]:
    for name, value in account.items():
        if name == "credentials":
            yield from (f"credential {each}: {reference}" for each, reference in value.items())
        elif name == "test":
            yield from _lines_of_test(value or {})
        elif value not in (None, "", {}):
            yield f"{name}: {msgspec.json.encode(value).decode() if isinstance(value, dict) else value}"


def _lines_of_test(test: Mapping[str, Any]) -> Iterator[str]:
    if test.get("finished_at") is None:
        return
    yield f"tested: {'ok' if test['ok'] else 'not ok'}, at {test['finished_at']} by {test['worker']}"
    yield from (f"tested {name}: {found}" for name, found in test.get("credentials", {}).items())
    if test.get("detail"):
        yield f"the platform: {test['detail']}" if test["ok"] else f"why: {test['detail']}"


def _print_accounts(screen: Console, found: Sequence[Mapping[str, Any]]) -> None:
    if not found:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("platform", "account", "status", "since", "title", "reason"):
        table.add_column(title, overflow="fold")
    for account in found:
        status = account["status"]
        texts = [account["since"] or "", account["title"], account["reason"] or ""]
        told = [printable(" ".join(text.split())) for text in texts]
        style = STATUS_STYLES.get(status, "")
        names = [escape(printable(account[name])) for name in ("platform", "account_id")]
        since, title, reason = map(escape, told)
        table.add_row(*names, f"[{style}]{status}[/{style}]", since, title, reason)
    screen.print(table)
