"""Prints the commands' output. All text passes here, so that no task's content can control the terminal."""

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from everpost.printable import printable, printable_json, printable_lines


def say(*lines: str, err: bool = False) -> None:
    """Print lines, to standard error with `err`. A line break within a line is not Everpost's, so it is escaped."""
    for line in lines:
        click.echo(printable(line), err=err)


def say_warnings(answer: Mapping[str, Any]) -> None:
    """Print what an answer warns of to standard error."""
    if answer.get("warning"):
        say(f"Warning: {answer['warning']}", err=True)
    if answer.get("unknown_fields"):
        say(f"Warning: neither Everpost nor the platform reads {', '.join(answer['unknown_fields'])}", err=True)


def say_lines(text: str) -> None:
    """Print a text whose line breaks Everpost made."""
    click.echo(printable_lines(text))


def say_json(answer: object) -> None:
    """Print an answer as JSON, for programs."""
    click.echo(as_json_text(answer))


def say_json_line(value: object) -> None:
    """Print a value as JSON on one line, at once."""
    click.echo(printable_json(msgspec.json.encode(value).decode()))


def as_json_text(answer: object) -> str:
    """An answer as indented JSON. Characters that control a terminal are escaped; the values stay exact."""
    return printable_json(msgspec.json.format(msgspec.json.encode(answer)).decode())
