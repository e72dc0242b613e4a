"""Progress bars of commands that work through many tasks."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def progress_bars() -> Progress:
    """Bars on standard error, if that is a terminal."""
    console = Console(stderr=True)
    return Progress(*COLUMNS, console=console, disable=not console.is_terminal)
