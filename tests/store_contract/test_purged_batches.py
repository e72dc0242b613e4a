"""Batches and the deliveries' log follow their tasks: nothing of them is left once a purge has destroyed these."""

import pytest

from everpost.store import Store
from everpost.store.batches import BatchKind
from everpost.store.history import TaskFilter
from everpost.task.model import TaskStatus
from everpost.task.place import Place
from store_contract.making import accept, end
from store_contract.test_archive import ARCHIVED_MS, LATER_MS, StepsOf, archiving, put_away, sum_of
from store_contract.test_callbacks import URL, post, retry
from store_contract.test_changes import FORCED, NOW_MS
from store_kit import StoreKit
from store_rows import START_MS, make_task, retry_as

KINDS = pytest.mark.parametrize("kind", [BatchKind.BATCH, BatchKind.FANOUT])


async def purge(store: Store, before_ms: int = LATER_MS, size: int = 2) -> int:
    return await sum_of(store.archive.purge(before_ms, StepsOf(size)))


def left(kit: StoreKit) -> dict[str, Place]:
    return {task.task_id: task.place for task in kit.tasks()}


@KINDS
async def test_a_batch_goes_with_the_last_task_of_its_chains(store: Store, kit: StoreKit, kind: BatchKind) -> None:
    await post(store, "one", "two", kind=kind)
    await end(store, "one", status=TaskStatus.SUCCESS)
    await end(store, "two")
    await retry(store, "two", "two again")
    await end(store, "two again")
    await end(store, "B.1.callback")  # given up
    await end(store, "B.2.callback", "one.success.callback", status=TaskStatus.SUCCESS)
    await put_away(store, "one", "two")
    assert await purge(store, ARCHIVED_MS) == 0
    assert await purge(store) == 3  # with the callback that was delivered
    assert kit.batches() == ["B"]
    await put_away(store, "two again")
    await purge(store)
    assert kit.batches() == []
    assert left(kit) == {"two.failed.callback": Place.LEDGER, "two again.failed.callback": Place.LEDGER}
    await end(store, "two.failed.callback", "two again.failed.callback")
    assert await purge(store) == 2
    assert left(kit) == {}
    assert await store.care.repair_counts() == 0


async def test_a_batch_whose_tasks_are_not_known_by_id_stays(store: Store, kit: StoreKit) -> None:
    await post(store, "one", "two", kind=BatchKind.BATCH)
    kit.forget_items()
    await end(store, "one", status=TaskStatus.SUCCESS)
    await purge(store)
    assert kit.batches() == ["B"]
    await end(store, "two")
    assert "B.1.callback" in left(kit)


async def test_ended_callbacks_are_destroyed_with_what_they_are_about(store: Store, kit: StoreKit) -> None:
    names = [f"t{number}" for number in range(5)]
    await accept(store, *names, callback_url=URL)
    await end(store, *names)
    await end(store, *(f"{name}.failed.callback" for name in names))
    while await store.care.fill_search():
        pass
    again = make_task("redelivery.callback", created_at_ms=NOW_MS, platform="callback")
    await store.changes.apply(retry_as({"t0.failed.callback": again}, FORCED), NOW_MS)
    await end(store, "redelivery.callback", status=TaskStatus.SUCCESS)
    await put_away(store, *names[:3])
    assert set(left(kit)) == {*names, *(f"{name}.failed.callback" for name in names), "redelivery.callback"}
    assert await purge(store, START_MS - 1) == 0
    assert await purge(store) == 7
    assert set(left(kit)) == {"t3", "t4", "t3.failed.callback", "t4.failed.callback"}
    assert await store.care.repair_counts() == 0
    found = await store.history.page(TaskFilter(platform=("callback",), q="failed"))
    assert len(found.items) in {0, 2}


async def test_delivered_callbacks_are_archived_by_age_and_failed_ones_stay_for_people(
    store: Store, kit: StoreKit
) -> None:
    await accept(store, "t", "u", callback_url=URL)
    await end(store, "t", "u", status=TaskStatus.SUCCESS)
    await end(store, "t.success.callback", status=TaskStatus.SUCCESS)
    await end(store, "u.success.callback")
    assert await sum_of(archiving(store, ARCHIVED_MS, 9)) == 3
    assert left(kit) == {
        "t": Place.ARCHIVE,
        "u": Place.ARCHIVE,
        "t.success.callback": Place.ARCHIVE,
        "u.success.callback": Place.HISTORY,
    }
    assert await purge(store) == 4
    assert left(kit) == {}
