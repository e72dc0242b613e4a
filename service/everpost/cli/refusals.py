"""Turns the API's refusals into the words of the command line: its options and settings instead of HTTP's."""

from collections.abc import Mapping
from typing import Any

from everpost.printable import printable

WORDS: Mapping[str, str] = {
    "task_succeeded": "The task was already published; --force publishes it a second time.",
    "outcome_unknown": "The task may have been published: look at the platform, then decide with `everpost resolve`; "
    "--force sends it again.",
    "task_held": "The task may have been published since the restored backup; run `everpost resume` first.",
}
"""By the problem's code, for every command."""

OF_A_COMMAND: Mapping[tuple[str, str], str] = {
    ("cancel", "task_running"): "The task is running; --force asks its worker to stop it, if it is not too late.",
    ("cancel", "outcome_unknown"): "The task has ended and may have been published; decide with `everpost resolve`.",
}
NO_TOKEN = "The API needs a token: set EVERPOST_TOKEN to it, or EVERPOST_KEY to an API key."  # noqa: S105 - a sentence
WRONG_TOKEN = "The API does not accept the token in EVERPOST_TOKEN or EVERPOST_KEY."  # noqa: S105 - a sentence


def refusal_text(problem: Mapping[str, Any], command: str, options: Mapping[str, str], *, has_token: bool) -> str:
    """One line about a problem.

    Args:
        command: The refused command, such as `retry`.
        options: The command's options by the parameter they set, such as `--account-id` by `account_id`.
    """
    code = str(problem.get("code", problem.get("status", "")))
    if code == "unauthorized":
        return f"{WRONG_TOKEN if has_token else NO_TOKEN} ({code})"
    told = words_of(code, str(problem.get("detail", "")), command)
    place = str(problem.get("path") or "$")
    name = place.removeprefix("?").removeprefix("$.").removeprefix("filter.")
    if name in options:
        return printable(f"{options[name]}: {told} ({code})")
    return printable(f"{told} ({code}{'' if place == '$' else f' at {place}'})")


def words_of(code: str, detail: str, command: str) -> str:
    """A problem's code in the words of the command line; the API's `detail` if it fits as it is."""
    return OF_A_COMMAND.get((command, code)) or WORDS.get(code) or detail
