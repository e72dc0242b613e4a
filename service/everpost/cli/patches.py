"""JSON merge patches (RFC 7396) from options: `--set NAME=VALUE`, `--unset NAME`, and whole ones."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import msgspec

Command = TypeVar("Command", bound=Callable[..., Any])


def set_option(command: Command) -> Command:
    """`--set`, any number of times, as the parameter `members`: a merge patch."""
    return click.option(
        "--set",
        "members",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_read_members,
        help="Set a member of the task's data. The value is JSON, or else text; null removes the member.",
    )(command)


def unset_option(command: Command) -> Command:
    """`--unset`, any number of times, as the parameter `removed`: a merge patch."""
    return click.option(
        "--unset",
        "removed",
        metavar="NAME",
        multiple=True,
        callback=lambda _context, _parameter, names: dict.fromkeys(names),
        help="Remove a member of the task's data.",
    )(command)


def patch_in(option: str, text: str) -> dict[str, Any]:
    """The JSON object that an option has.

    Raises:
        click.UsageError: It is not one.
    """
    try:
        patch = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise click.UsageError(f"{option}: {error}.") from error
    if not isinstance(patch, dict):
        raise click.UsageError(f"{option} takes a JSON object.")
    return patch


def _read_members(_context: click.Context, _parameter: click.Parameter, members: Sequence[str]) -> dict[str, Any]:
    patch = {}
    for member in members:
        name, equals, value = member.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{member!r} is not NAME=VALUE.")
        patch[name] = _value_of(value)
    return patch


def _value_of(text: str) -> Any:
    """The JSON value of a text; the text itself if it is not JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
