"""Statements as the driver takes them: `:named` parameters become `$1`, `$2`, in the order of their first use."""

import re
from functools import cache, lru_cache
from typing import NamedTuple

from everpost.store.postgresql.queries import statements

_TOKEN = re.compile(
    r"""
    '(?:[^']|'')*'                       # text; a backslash is an ordinary character in it
    | "(?:[^"]|"")*"                     # a quoted name
    | --[^\n]*
    | /\*.*?\*/
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$    # dollar-quoted text
    | ::                                 # a cast
    | :(?P<name>[a-z_][a-z0-9_]*)
    """,
    re.VERBOSE | re.DOTALL,
)


class Sql(str):
    """The text of a statement that was composed by Python; a plain `str` names a statement in `queries/`."""

    __slots__ = ()


class Statement(NamedTuple):
    """A statement, and the names of its parameters in order."""

    text: str
    parameters: tuple[str, ...]


def statement(name: str) -> Statement:
    """The statement with this name, or of this `Sql`."""
    return _composed(name) if isinstance(name, Sql) else _named(name)


@cache
def _named(name: str) -> Statement:
    return numbered(statements()[name])


@lru_cache(256)
def _composed(text: Sql) -> Statement:
    return numbered(text)


def numbered(text: str) -> Statement:
    """The statement with numbered parameters. Text, names, comments and casts stay as they are.

    The slice of an array needs a space after its colon: `[1: n]`.
    """
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name = found["name"]
        return found[0] if name is None else f"${names.setdefault(name, len(names) + 1)}"

    return Statement(_TOKEN.sub(number, text), tuple(names))
