"""Every `everpost` command that a document shows is one that the command line takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from everpost.cli import everpost

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ENDS = {"|", ";", "&&", ">", ">>", "2>", "&", "||"}
"""Words of the shell after which a command has ended."""


def shown_commands(text: str) -> Iterator[list[str]]:
    """The words of each command after `everpost`, from the console examples of a document."""
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ ") and re.search(r"\beverpost [a-z]", line):
                yield from commands_of(line[2:])


def commands_of(line: str) -> Iterator[list[str]]:
    """The commands of one line; a substitution counts as one word."""
    words: list[str] | None = None
    lexer = shlex.shlex(re.sub(r"\$\([^()]*\)", "made", line), posix=True, punctuation_chars="|;&><")
    lexer.whitespace_split = True
    for word in [*lexer, ";"]:
        if word in ENDS:
            if words is not None:
                yield words
            words = None
        elif words is not None:
            words.append(word)
        elif "=" not in word and word.rpartition("/")[2] == "everpost":
            words = []


def parsed(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Parse a command line as click does, subcommands included, and run nothing.

    Raises:
        click.UsageError: The command line does not take it.
    """
    with command.make_context(command.name or "everpost", list(words), parent=parent) as context:
        rest = [*context._protected_args, *context.args]
        if isinstance(command, click.Group) and rest:
            name, child, others = command.resolve_command(context, rest)
            assert child is not None, name
            parsed(child, others, context)


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_the_command_line_takes_every_command_that_is_shown(file: Path) -> None:
    for words in shown_commands(file.read_text("utf-8")):
        try:
            parsed(everpost, words)
        except click.UsageError as error:
            if "does not exist" not in error.format_message():  # it says so of the example's files
                pytest.fail(f"everpost {shlex.join(words)}: {error.format_message()}")


def test_commands_are_found_where_they_are_shown() -> None:
    assert list(commands_of("A=b everpost list --q 'a b' | head; .venv/bin/everpost show ID > file # more")) == [
        ["list", "--q", "a b"],
        ["show", "ID"],
    ]
    with pytest.raises(click.NoSuchOption):
        parsed(everpost, ["list", "--no-such-option"])
    with pytest.raises(click.UsageError):
        parsed(everpost, ["accounts", "nothing"])
