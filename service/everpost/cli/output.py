"""How the commands speak: the one way out for texts, so that no task can act on the terminal of who looks at it."""

import click
import msgspec

from everpost.printable import printable, printable_json, printable_lines


def say(*lines: str, err: bool = False) -> None:
    """Print lines, to standard error with `err`; a line break within one is others', and is escaped."""
    for line in lines:
        click.echo(printable(line), err=err)


def say_lines(text: str) -> None:
    """Print a text whose line breaks are ours."""
    click.echo(printable_lines(text))


def say_json(answer: object) -> None:
    """Print an answer as JSON, for programs."""
    click.echo(as_json_text(answer))


def as_json_text(answer: object) -> str:
    """An answer as indented JSON; what would act on a terminal is escaped, so the values are exact all the same."""
    return printable_json(msgspec.json.format(msgspec.json.encode(answer)).decode())
