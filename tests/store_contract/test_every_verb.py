"""A verb of the port that no test of the contract calls is a verb that a store need not have."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

from everpost.store import Store
from everpost.store.maintenance import Maintenance

FOLDER = Path(__file__).parent


def nouns() -> dict[str, type]:
    """The nouns of the port and their protocols."""
    properties = inspect.getmembers(Store, lambda member: isinstance(member, property))
    found = {name: get_type_hints(member.fget)["return"] for name, member in properties}
    return {**found, "maintenance": Maintenance}


def verbs() -> set[str]:
    """Every verb, as `noun.verb`."""
    return {
        f"{noun}.{verb}"
        for noun, protocol in nouns().items()
        for verb, _ in inspect.getmembers(protocol, inspect.isfunction)
        if not verb.startswith("_")
    }


def called() -> Iterator[str]:
    """What the tests here call as `noun.verb(...)`, whatever store the noun is of.

    What only files need, such as restoring a backup, is tested among the tests of the store that has files.
    """
    for path in (*FOLDER.glob("test_*.py"), *FOLDER.parent.glob("*/test_maintenance.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                match node.func.value:
                    case ast.Attribute(attr=noun) | ast.Name(id=noun):
                        yield f"{noun}.{node.func.attr}"
                    case ast.Call(func=ast.Name(id="maintenance_of")):
                        yield f"maintenance.{node.func.attr}"


def test_every_verb_of_the_port_is_called_by_a_test_of_the_contract() -> None:
    assert verbs() - set(called()) == set()


def test_the_nouns_of_the_port_are_these() -> None:
    assert {verb.partition(".")[0] for verb in verbs()} == {
        "ledger", "relay", "meta", "care", "history", "archive", "held", "changes", "operations", "limits",
        "recurring", "maintenance", "files", "accounts", "batches", "failures",
        "timeline", "traces", "keys", "audit",
    }  # fmt: skip
