"""A file that a process of the version before has opened again. It removes the triggers that it does not know."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from everpost.store import Store, open_store
from everpost.store.sqlite.schema import migrate, strangers
from everpost.store.sqlite.schema.schema import wanted_schema
from store_contract.making import add_ended
from store_contract.test_failures import groups_of
from store_contract.test_operations import operation_of
from store_rows import START_MS, begin, remove

ADDED = {"operations_undoes", "publish_tasks_failure_left", "publish_tasks_failure_undone"}
"""What the version before does not know of the tables that it has."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(str(tmp_path / "everpost.db"))
    yield opened
    await opened.close()


def start_the_version_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do with the file what that version does at its start."""
    known = wanted_schema()
    before = msgspec.structs.replace(
        known,
        triggers={name: sql for name, sql in known.triggers.items() if name not in ADDED},
        indexes={name: sql for name, sql in known.indexes.items() if name not in ADDED},
    )
    with monkeypatch.context() as patched:
        for module in (migrate, strangers):
            patched.setattr(module, "wanted_schema", lambda: before)
        assert migrate.migrate(path).removed


async def test_what_the_version_before_removed_is_put_back_while_this_version_runs(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_ended(store, "stays", "goes")
    await store.care.tend(START_MS)
    start_the_version_before(tmp_path / "everpost.db", monkeypatch)
    await begin(store, operation_of())  # bulk work goes on
    await remove(store, "goes")
    assert (await groups_of(store)).tasks == 2
    await store.care.tend(START_MS)
    assert (await groups_of(store)).tasks == 1
    await remove(store, "stays")
    assert (await groups_of(store)).tasks == 0
