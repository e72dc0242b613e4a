"""The callback of a batch does not depend on what happens to its tasks: edits, archiving, purges."""

from typing import Any

import pytest
from msgspec.structs import replace

from everpost.store import Store
from everpost.store.batches import BatchKind
from everpost.task.model import TaskStatus
from store_contract.making import accept, end
from store_contract.test_callbacks import URL, of_batch, post, retry, told
from store_contract.test_changes import FORCED, NOW_MS, cancel_of, remove_of, resolve_of
from store_contract.test_edits import edit, version_of
from store_kit import StoreKit
from store_rows import make_task, retry_as

KINDS = pytest.mark.parametrize("kind", [BatchKind.BATCH, BatchKind.FANOUT])


async def rename(store: Store, task_id: str, **fields: Any) -> None:
    """Edit a task; its new version has no address, unless it is given."""
    assert (await edit(store, version_of(task_id, **fields))).reason is None


@KINDS
async def test_a_task_that_loses_its_address_still_counts_for_its_batch(
    store: Store, kit: StoreKit, kind: BatchKind
) -> None:
    await post(store, "one", "two", kind=kind)
    await rename(store, "one")
    await end(store, "one", status=TaskStatus.SUCCESS)
    assert told(kit) == set()
    await end(store, "two", status=TaskStatus.SUCCESS)
    assert told(kit) == {"two.success", "B.1"}
    assert of_batch(kit)["B.1"]["data"]["counts"] == {"success": 2}


async def test_a_task_that_gets_its_address_back_is_told_of_again(store: Store, kit: StoreKit) -> None:
    await post(store, "one")
    await rename(store, "one")
    before = (await store.changes.find(["one"], whole=True))[0].data
    assert before is not None
    again = replace(version_of("one", title="third", callback_url=URL), before_data=before.task_data, before_priority=1)
    assert (await edit(store, again)).reason is None
    await store.changes.apply(cancel_of("one"), NOW_MS)
    assert told(kit) == {"one.cancelled", "B.1"}


async def test_a_retry_without_an_address_counts_for_its_batch(store: Store, kit: StoreKit) -> None:
    await post(store, "one", "two")
    await end(store, "one", "two")
    assert set(of_batch(kit)) == {"B.1"}
    quiet = {"one": make_task("one again", created_at_ms=NOW_MS), "two": make_task("two again", created_at_ms=NOW_MS)}
    await store.changes.apply(retry_as(quiet, FORCED), NOW_MS)
    await end(store, "one again", status=TaskStatus.SUCCESS)
    assert set(of_batch(kit)) == {"B.1"}
    await end(store, "two again")
    await store.changes.apply(retry_as({"two again": make_task("two third", created_at_ms=NOW_MS)}, FORCED), NOW_MS)
    await store.changes.apply(cancel_of("two third"), NOW_MS)
    counts = {name: event["data"]["counts"] for name, event in of_batch(kit).items()}
    assert counts == {
        "B.1": {"failed": 2},
        "B.2": {"success": 1, "failed": 1},
        "B.3": {"success": 1, "cancelled": 1},
    }
    assert not [name for name in told(kit) if "again" in name or "third" in name]


async def test_a_batch_of_the_version_before_is_told_how_its_tasks_ended(store: Store, kit: StoreKit) -> None:
    await post(store, "one", "two", kind=BatchKind.BATCH)
    kit.forget_items()
    await end(store, "one", status=TaskStatus.SUCCESS)
    await end(store, "two")
    event = of_batch(kit)["B.1"]
    assert (event["type"], event["data"]["counts"]) == ("batch.partial", {"success": 1, "failed": 1})


@KINDS
async def test_archived_tasks_count_in_the_news_of_their_batch(store: Store, kit: StoreKit, kind: BatchKind) -> None:
    await post(store, "one", "two", "three", kind=kind)
    await end(store, "one", status=TaskStatus.SUCCESS)
    await end(store, "two", "three")
    await retry(store, "two", "two again")
    await end(store, "two again", status=TaskStatus.SUCCESS)
    assert of_batch(kit)["B.2"]["data"]["counts"] == {"success": 2, "failed": 1}
    await store.changes.apply(remove_of("one", "two", "two again", "three"), NOW_MS)
    await retry(store, "three", "three again")
    await end(store, "three again", status=TaskStatus.SUCCESS)
    event = of_batch(kit)["B.3"]
    assert (event["type"], event["data"]["counts"]) == (f"{kind}.success", {"success": 3})


async def test_the_callbacks_of_ends_are_found_with_those_of_their_batches(store: Store) -> None:
    await post(store, "one", "two")
    await accept(store, "quiet", "t")
    await end(store, "one", "quiet", "t")
    await end(store, "one.failed.callback")
    assert await found(store, "one", "quiet") == set()
    (cancelled,) = await store.changes.apply(cancel_of("two"), NOW_MS)
    assert cancelled.told == ("two",)
    assert await found(store, *cancelled.told) == {"two.cancelled.callback", "B.1.callback"}
    for name in ("B.1.callback", "two.cancelled.callback"):
        await end(store, name, status=TaskStatus.SUCCESS)
    again = make_task("two again", created_at_ms=NOW_MS, callback_url=URL)
    (retried,) = await store.changes.apply(retry_as({"two": again}, FORCED), NOW_MS)
    assert retried.told == ()
    await store.changes.apply(remove_of("two"), NOW_MS)
    await end(store, "two again", status=TaskStatus.UNKNOWN)
    assert await found(store, "two again") == {"two again.unknown.callback", "B.2.callback"}
    (resolved,) = await store.changes.apply(resolve_of("two again"), NOW_MS)
    assert resolved.told == ("two again",)


async def test_a_retry_tells_of_the_tasks_it_replaces(store: Store) -> None:
    await accept(store, "waits", "unknown", "failed", callback_url=URL)
    await accept(store, "quiet")
    await end(store, "unknown", status=TaskStatus.UNKNOWN)
    await end(store, "failed")
    wanted = ["waits", "unknown", "failed", "quiet"]
    news = {name: make_task(f"{name} again", created_at_ms=NOW_MS) for name in wanted}
    outcomes = await store.changes.apply(retry_as(news, FORCED), NOW_MS)
    assert [outcome.told for outcome in outcomes] == [("waits",), ("unknown",), (), ()]


async def found(store: Store, *task_ids: str) -> set[str]:
    return {task.task_id for task in (await store.relay.callbacks(task_ids)).tasks}
