"""The reference of the commands, made from click: a table, and each command's help."""

import inspect
from collections.abc import Iterator

import click

from everpost.cli import SECTIONS, everpost
from marked_text import table


def commands_table() -> str:
    """The commands by section, each with one line."""
    lines: list[str] = []
    for title, commands in SECTIONS.items():
        rows = [(f"`everpost {name}`", text) for name, (_, text) in commands.items()]
        lines += ["", f"**{title}**", "", *table(("command", "meaning"), rows)]
    return "\n".join(lines[1:])


def commands_details() -> str:
    """Every command and subcommand: its usage, what it does, its arguments' and options' meaning."""
    root = click.Context(everpost, info_name="everpost")
    lines: list[str] = []
    for name in everpost.list_commands(root):
        command = everpost.get_command(root, name)
        assert command is not None
        lines += _details(command, click.Context(command, parent=root, info_name=name), level=3)
    return "\n".join(lines)


def _details(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    """The lines about a command, then those about its subcommands."""
    yield from ("", f"{'#' * level} {context.command_path}", "", *_usage(command, context))
    yield from _prose(inspect.cleandoc(command.help or ""))
    options = [_option(option, context) for option in command.params if isinstance(option, click.Option)]
    if options:
        yield from ("", *table(("option", "meaning"), options))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _details(child, click.Context(child, parent=context, info_name=name), level + 1)


def _usage(command: click.Command, context: click.Context) -> list[str]:
    words = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    return ["```text", words, "```"]


def _prose(text: str) -> Iterator[str]:
    """A help text: click keeps the lines of a paragraph that begins with backspace, so it becomes a code block."""
    for paragraph in text.replace("\f", "").split("\n\n"):
        if paragraph.lstrip().startswith("\b"):
            yield from ("", "```text", paragraph.replace("\b\n", "").replace("\b", ""), "```")
        else:
            yield from ("", paragraph)


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    names, meaning = option.get_help_record(context) or (", ".join(option.opts), option.help or "")
    return f"`{names}`", _escaped(meaning)


def _escaped(text: str) -> str:
    """Text in which Markdown would take brackets, stars and angles for its own."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[")
