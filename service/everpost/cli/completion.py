"""`everpost completion`: scripts for shell completion of commands, options, statuses, platforms and ids."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

VARIABLE = "_EVERPOST_COMPLETE"  # click derives it from the command's name
SHELLS = ("bash", "zsh", "fish")

EXAMPLES = """\b
Examples:
  eval "$(everpost completion bash)"      # in ~/.bashrc
  eval "$(everpost completion zsh)"       # in ~/.zshrc, after compinit
  everpost completion fish > ~/.config/fish/completions/everpost.fish
"""


@click.command(epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print a script for shell completion of `everpost`; SHELL is bash (4.4 or newer), zsh or fish.

    The default is the shell in the variable SHELL. Ids are fetched from the running API when you press the Tab key.
    """
    wanted = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(wanted)
    if wanted not in SHELLS or kind is None:
        raise click.UsageError(f"Name the shell: {', '.join(SHELLS)}.", click.get_current_context())
    group = click.get_current_context().find_root().command
    click.echo(kind(group, {}, "everpost", VARIABLE).source())
