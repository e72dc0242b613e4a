"""The maintenance of a file by its address: backups, restores, imports, compaction."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from everpost.clock import to_text
from everpost.errors import DatabaseUnusable
from everpost.store import maintenance_of
from everpost.store.history import TaskFilter
from everpost.store.maintenance import Maintenance
from everpost.store.operations import OperationStatus
from everpost.store.pause import end_pause, find_pause, warn_of_pause
from everpost.task.model import HELD, TaskStatus
from everpost.task.place import Place
from sqlite.original_database import insert, make_task_queue, queued_task
from store_contract.conftest import Stores
from store_contract.making import accept, add_ended, facts_of
from store_contract.test_operations import operation_of
from store_rows import START_MS, begin, make_task

NOW_MS = START_MS + 60_000


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'everpost.db'}"


@pytest.fixture
def maintenance(address: str) -> Maintenance:
    return maintenance_of(address)


@pytest_asyncio.fixture
async def stores(address: str) -> AsyncIterator[Stores]:
    stores = Stores(address)
    yield stores
    await stores.close()


def exists(path: str | None) -> bool:
    return path is not None and Path(path).exists()


def move_all_but(backup: Path) -> None:
    """Leave only the backup in its folder."""
    elsewhere = backup.parent / "elsewhere"
    elsewhere.mkdir()
    for left in backup.parent.iterdir():
        if left not in {backup, elsewhere}:
            left.rename(elsewhere / left.name)


async def test_a_backup_holds_what_was_written_until_then_while_others_write(
    maintenance: Maintenance, stores: Stores, tmp_path: Path
) -> None:
    store = await stores.open()
    await accept(store, "before")
    backup = maintenance.back_up(tmp_path / "backup")
    await accept(store, "after")
    assert backup.path == tmp_path / "backup"
    assert backup.size_bytes > 0
    with pytest.raises(DatabaseUnusable):
        maintenance.back_up(tmp_path / "backup")  # it is there already
    await stores.close()
    maintenance.restore(tmp_path / "backup", NOW_MS)
    restored = await stores.open()
    assert set((await restored.ledger.check_claims({"before": None, "after": None})).known) == {"before"}


async def test_a_store_that_is_not_there_has_no_backup(maintenance: Maintenance, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable):
        maintenance.back_up(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


async def test_a_restore_holds_tasks_that_could_have_run_and_pauses_dispatch(
    maintenance: Maintenance, stores: Stores, tmp_path: Path
) -> None:
    store = await stores.open()
    await accept(store, "waiting", "sending", make_task("later", due_at_ms=NOW_MS + 60_000))
    await add_ended(store, "ended")
    await store.ledger.begin_send("sending", 2, START_MS)
    operation = operation_of("bulk")
    await begin(store, operation)
    maintenance.back_up(tmp_path / "backup")
    await stores.close()
    pause = maintenance.restore(tmp_path / "backup", NOW_MS)
    assert (pause.ended, pause.sending, pause.held, pause.scheduled, pause.operations) == (2, 1, 1, 1, 1)
    assert pause.restored_at == to_text(NOW_MS)
    store = await stores.open()
    assert await find_pause(store.meta) == pause
    assert await warn_of_pause(store.meta)
    assert await store.held.page(None, 9) == (["waiting"], None)
    assert (await facts_of(store, "waiting")).sending == HELD
    assert (await facts_of(store, "later")).sending is None
    unknown = await store.history.find_task("sending")
    assert unknown is not None
    assert (unknown.place, unknown.status, unknown.attempts[-1]["number"]) == (Place.HISTORY, TaskStatus.UNKNOWN, 2)
    found = await store.operations.find("bulk")
    assert found is not None
    given_up, _ = found
    assert (given_up.status, given_up.owner) == (OperationStatus.FAILED, None)
    await accept(store, "new")
    assert await store.ledger.begin_send("new", 1, NOW_MS)
    await end_pause(store.meta)
    assert await find_pause(store.meta) is None
    assert await store.held.count() == 1


async def test_the_store_that_was_replaced_is_kept(maintenance: Maintenance, stores: Stores, tmp_path: Path) -> None:
    await accept(await stores.open(), "first")
    maintenance.back_up(tmp_path / "backup")
    await accept(await stores.open(), "second")
    await stores.close()
    replaced = maintenance.restore(tmp_path / "backup", NOW_MS).replaced
    assert exists(replaced)


async def test_a_restore_is_refused_while_the_file_is_in_use_or_from_an_invalid_backup(
    maintenance: Maintenance, stores: Stores, tmp_path: Path
) -> None:
    store = await stores.open()
    await accept(store, "task")
    maintenance.back_up(tmp_path / "backup")
    with pytest.raises(DatabaseUnusable):
        maintenance.restore(tmp_path / "backup", NOW_MS)
    await stores.close()
    (tmp_path / "words").write_bytes(b"words" * 2_000)
    for backup in (tmp_path / "words", tmp_path / "nothing"):
        with pytest.raises(DatabaseUnusable):
            maintenance.restore(backup, NOW_MS)
    store = await stores.open()
    assert (await facts_of(store, "task")).status == "pending"
    assert await find_pause(store.meta) is None


async def test_a_store_that_is_gone_is_restored(maintenance: Maintenance, stores: Stores, tmp_path: Path) -> None:
    await accept(await stores.open(), "task")
    backup = maintenance.back_up(tmp_path / "backup")
    await stores.close()
    move_all_but(backup.path)
    assert maintenance.restore(backup.path, NOW_MS).replaced is None
    assert await (await stores.open()).held.count() == 1


async def test_an_original_queue_is_imported_once_and_never_runs_on_its_own(
    maintenance: Maintenance, stores: Stores, tmp_path: Path
) -> None:
    source = make_task_queue(tmp_path / "task_queue.db")
    insert(source, "task_queue", *(queued_task(number) for number in range(5)))
    progress: list[tuple[int, int]] = []
    first = maintenance.import_queue(source, lambda done, total: progress.append((done, total)))
    second = maintenance.import_queue(source)
    assert (first.read, first.added, first.present) == (5, 5, 0)
    assert (second.read, second.added, second.present) == (5, 0, 5)
    assert progress[-1] == (5, 5)
    store = await stores.open()
    items = (await store.history.page(TaskFilter())).items
    assert [item.inherited for item in items] == [True] * 5
    assert await store.ledger.count_unfinished() == 0
    with pytest.raises(DatabaseUnusable):
        maintenance.import_queue(tmp_path / "nothing.db")


async def test_a_store_is_compacted_while_it_is_closed_and_loses_nothing(
    maintenance: Maintenance, stores: Stores
) -> None:
    store = await stores.open()
    await add_ended(store, *(make_task(f"t{number}", note="x" * 1_000) for number in range(20)))
    with pytest.raises(DatabaseUnusable):
        maintenance.compact()
    await stores.close()
    compacted = maintenance.compact()
    assert compacted.before_bytes >= compacted.after_bytes > 0
    store = await stores.open()
    assert (await store.history.summary()).total == 20
