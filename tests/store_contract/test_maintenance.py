"""The contract of maintenance by address: whether there is a store, and what an inspection finds in it."""

from pathlib import Path

import pytest

from everpost.errors import SettingsError
from everpost.store import Store, maintenance_of, open_store
from everpost.store.maintenance import Depth, Inspection, Maintenance
from everpost.task.place import Place
from postgresql_server import shared_server
from store_contract.making import accept, add_ended
from store_kit import StoreKit
from store_rows import START_MS, make_task
from stores import ADDRESSES

NOW_MS = START_MS + 60_000


@pytest.fixture
def maintenance(address: str) -> Maintenance:
    return maintenance_of(address)


async def inspect(maintenance: Maintenance, depth: Depth = Depth.QUICK) -> Inspection:
    return await maintenance.inspect(depth, NOW_MS, 0)


@pytest.mark.parametrize("address", ["nothing://host/name", "http://example.test/", "sqlite://host/file.db"])
async def test_an_unsupported_address_is_refused_with_the_supported_ones(address: str) -> None:
    for refused in (maintenance_of, open_store):
        with pytest.raises(SettingsError, match="sqlite:///"):
            await refused(address)  # type: ignore[misc]  # the one is no coroutine, and neither returns


def without_tables(_folder: Path) -> str:
    return shared_server().new_database(template="template0")


EMPTY = {**ADDRESSES, "postgresql": without_tables}
"""For each kind of store the address of a place where nothing is yet."""


@pytest.mark.parametrize("kind", EMPTY)
async def test_a_store_exists_once_it_was_opened_and_is_named_without_a_password(kind: str, tmp_path: Path) -> None:
    address = EMPTY[kind](tmp_path)
    maintenance = maintenance_of(address.replace("everpost@", "everpost:secret@"))
    assert maintenance.name
    assert "secret" not in maintenance.name
    assert not maintenance.exists()
    assert await maintenance.open_current() is None
    await (await open_store(address)).close()
    assert maintenance.exists()
    current = await maintenance.open_current()
    assert current is not None
    await current.close()


async def test_a_healthy_store_is_inspected_without_a_fault_and_without_a_change(
    maintenance: Maintenance, store: Store, kit: StoreKit
) -> None:
    await accept(store, "waiting", make_task("later", due_at_ms=NOW_MS + 1))
    await add_ended(store, "ended")
    before = kit.tasks()
    for depth in Depth:
        inspection = await inspect(maintenance, depth)
        wrong = {finding.name for finding in inspection.findings if finding.ok is False}
        assert wrong <= {"durability"}  # the tests' PostgreSQL does not flush
        contents = inspection.contents
        assert contents is not None
        assert contents.statuses == {"pending": 1, "scheduled": 1, "failed": 1}
        assert contents.oldest_due is not None
        assert (contents.oldest_due.task_id, contents.pause) == ("waiting", None)
        assert (contents.wrong_counts, contents.in_two_places) == ((None, None) if depth is Depth.FAST else (0, []))
    assert kit.tasks() == before


async def test_faults_of_a_store_are_found(maintenance: Maintenance, store: Store, kit: StoreKit) -> None:
    await accept(store, "twice", "fine")
    kit.add(Place.HISTORY, {"task_id": "twice", "status": "failed"})
    kit.miscount()
    contents = (await inspect(maintenance)).contents
    assert contents is not None
    assert contents.in_two_places == ["twice"]
    assert contents.wrong_counts is not None
    assert contents.wrong_counts > 0
