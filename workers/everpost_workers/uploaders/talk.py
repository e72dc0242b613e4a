"""The program's side of the publisher `command`: reads the task, writes messages, runs the uploader's command line."""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

KEPT_LINES = 20
LONGEST_ERROR = 500


class Uploaded:
    """What an uploader's command line did: its exit code, and the last lines it wrote."""

    def __init__(self, code: int, lines: list[str]) -> None:
        self.code = code
        self.lines = lines

    @property
    def last_line(self) -> str:
        """Its last line that is not empty."""
        return next((line for line in reversed(self.lines) if line.strip()), "")[:LONGEST_ERROR]

    def said(self, *words: str) -> bool:
        """Whether one of these words is in its last lines, in upper or lower case."""
        text = "\n".join(self.lines).casefold()
        return any(word.casefold() in text for word in words)


def read_task() -> dict[str, Any]:
    """The task on standard input."""
    task: dict[str, Any] = json.load(sys.stdin)
    return task


def write(kind: str, **fields: object) -> None:
    """Write a message."""
    sys.stdout.write(json.dumps({"type": kind, **fields}) + "\n")
    sys.stdout.flush()


def fail(error_class: str, message: str) -> NoReturn:
    """Write an error, and end."""
    write("error", error_class=error_class, message=message)
    sys.exit(0)


def require_text(data: dict[str, Any], field: str) -> str:
    """A field of the task that must be a text; it must not be taken for an option of the command line."""
    value = data.get(field)
    if not isinstance(value, str) or not value.strip():
        fail("invalid", f"The task has no {field}.")
    return value


def read_tags(data: dict[str, Any]) -> str:
    """The task's tags as the uploaders take them: separated by commas, without #."""
    tags = data.get("tags") or []
    if isinstance(tags, str):
        tags = tags.split(",")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        fail("invalid", "tags must be a list of texts.")
    cleaned = (tag.strip().lstrip("#") for tag in tags)
    if any("," in tag for tag in tags):
        fail("invalid", "A tag contains a comma, which separates tags.")
    return ",".join(tag for tag in cleaned if tag)


def run(argv: Sequence[str]) -> Uploaded:
    """Run the uploader; its lines go to standard error, where Everpost keeps the last one as evidence."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator chose this program, and there is no shell
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        fail("permanent", f"{argv[0]} cannot be started: {error.strerror}.")
    lines: list[str] = []
    readers = [
        threading.Thread(target=_pass_on, args=(pipe, lines)) for pipe in (process.stdout, process.stderr) if pipe
    ]
    for reader in readers:
        reader.start()
    code = process.wait()
    for reader in readers:
        reader.join()
    return Uploaded(code, lines)


def _pass_on(pipe: TextIO, lines: list[str]) -> None:
    for line in pipe:
        lines.append(line.rstrip())
        del lines[:-KEPT_LINES]
        sys.stderr.write(line)
