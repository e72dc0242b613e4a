"""The contract of callbacks: every end of a task that has an address is told, in the transaction of the end, once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from everpost.clock import to_text
from everpost.store import Store
from everpost.store.batches import Batch, BatchKind, Posted, Posting
from everpost.store.history import TaskFilter
from everpost.store.ledger import FirstAnswer
from everpost.task.model import HELD, ErrorClass, Task, TaskStatus
from everpost.task.place import Place
from store_contract.making import accept, end, record_of
from store_contract.test_changes import FORCED, NOW_MS, cancel_of, remove_of, resolve_of
from store_kit import StoreKit
from store_rows import START_MS, ids, make_task, retry_as

URL = "https://example.com/hook?a=1"
ENDED_MS = START_MS + 2_000


def callbacks(kit: StoreKit) -> dict[str, Any]:
    """What each callback says, by its id; all of them are in the ledger, ready to run."""
    found = {}
    for task in kit.tasks():
        if task.task_id.endswith(".callback"):
            assert (task.place, task.status) == (Place.LEDGER, "pending")
            assert task.data["callback"]["url"] == URL
            assert task.data["callback"]["id"] + ".callback" == task.task_id
            found[task.task_id.removesuffix(".callback")] = task.data["callback"]["event"]
    return found


def told(kit: StoreKit) -> set[str]:
    return set(callbacks(kit))


async def accept_calling(store: Store, *task_ids: str, **fields: Any) -> None:
    await accept(store, *task_ids, callback_url=URL, **fields)


async def retry(store: Store, old: str, new: str, **fields: Any) -> None:
    """Retry a task as a new one that has the address too."""
    new_task = make_task(new, created_at_ms=NOW_MS, callback_url=URL, **fields)
    await store.changes.apply(retry_as({old: new_task}, FORCED), NOW_MS)


async def test_the_callback_of_an_end_says_how_the_task_ended(store: Store, kit: StoreKit) -> None:
    await accept_calling(store, "t", title='测试 "\\ 😀', batch_id="B")
    fields = {"provider_post_id": "7", "publish_url": "https://x/7", "result": '{"a":1}'}
    await end(store, "t", status=TaskStatus.SUCCESS, **fields)
    assert callbacks(kit) == {
        "t.success": {
            "type": "task.success",
            "timestamp": to_text(ENDED_MS),
            "data": {
                "task_id": "t",
                "status": "success",
                "status_before": None,
                "platform": "douyin",
                "account_id": "a",
                "title": '测试 "\\ 😀',
                "batch_id": "B",
                "retry_of": None,
                "error_class": None,
                "error_message": None,
                "provider_post_id": "7",
                "publish_url": "https://x/7",
                "created_at": to_text(START_MS),
                "ended_at": to_text(ENDED_MS),
            },
        }
    }
    found = await store.relay.runnable(["t.success.callback"])
    assert [(task.platform, task.account_id, task.priority) for task in found.tasks] == [("callback", "a", 5)]
    assert (await store.relay.page(None, NOW_MS, 10)).entries[-1].task_id == "t.success.callback"


@pytest.mark.parametrize("status", [TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.UNKNOWN, TaskStatus.CANCELLED])
async def test_every_end_is_told_once_however_often_it_is_recorded(
    store: Store, kit: StoreKit, status: TaskStatus
) -> None:
    await accept_calling(store, "t", "u")
    await accept(store, "quiet")
    record = record_of("t", status, error_class=ErrorClass.PERMANENT, error_message="no")
    for _ in range(2):
        await store.ledger.end([record])
    await end(store, "u", "quiet", status=status)
    assert told(kit) == {f"t.{status}", f"u.{status}"}
    event = callbacks(kit)[f"t.{status}"]["data"]
    assert (event["error_class"], event["error_message"]) == ("permanent", "no")
    assert await store.care.repair_counts() == 0


async def test_a_task_without_an_address_has_no_callback(store: Store, kit: StoreKit) -> None:
    await accept(store, "quiet", "other")
    await end(store, "quiet", status=TaskStatus.UNKNOWN)
    await store.changes.apply(resolve_of("quiet"), NOW_MS)
    await store.changes.apply(cancel_of("other"), NOW_MS)
    assert kit.count() == 2


async def test_a_cancellation_and_a_replacement_are_told(store: Store, kit: StoreKit) -> None:
    await accept_calling(store, "cancelled", "replaced")
    await store.changes.apply(cancel_of("cancelled"), NOW_MS)
    await retry(store, "replaced", "new")
    assert told(kit) == {"cancelled.cancelled", "replaced.cancelled"}
    assert callbacks(kit)["replaced.cancelled"]["data"]["error_message"] == "Superseded by its retry new"
    await end(store, "new", status=TaskStatus.SUCCESS)
    assert callbacks(kit)["new.success"]["data"]["retry_of"] == "replaced"


async def test_a_decision_is_told_with_the_status_before(store: Store, kit: StoreKit) -> None:
    await accept_calling(store, "found", "resent")
    await end(store, "found", "resent", status=TaskStatus.UNKNOWN)
    await store.changes.apply(resolve_of("found", publish_url="https://x/1"), NOW_MS)
    await retry(store, "resent", "again")
    assert told(kit) == {"found.unknown", "found.success", "resent.unknown", "resent.cancelled"}
    event = callbacks(kit)["found.success"]["data"]
    assert (event["status_before"], event["publish_url"], event["ended_at"]) == (
        "unknown",
        "https://x/1",
        to_text(NOW_MS),
    )


@pytest.mark.parametrize("archived", [False, True])
async def test_a_late_success_is_told_and_a_late_failure_changes_nothing(
    store: Store, kit: StoreKit, archived: bool
) -> None:
    await accept_calling(store, "t")
    await end(store, "t", status=TaskStatus.UNKNOWN)
    if archived:
        await store.changes.apply(remove_of("t"), NOW_MS)
    await store.ledger.end([record_of("t", TaskStatus.FAILED, 2)])
    assert told(kit) == {"t.unknown"}
    await store.ledger.end([record_of("t", TaskStatus.SUCCESS, 3, provider_post_id="7")])
    assert told(kit) == {"t.unknown", "t.success"}
    event = callbacks(kit)["t.success"]["data"]
    assert (event["status_before"], event["provider_post_id"]) == ("unknown", "7")


async def test_the_ends_of_the_relay_and_of_a_restore_are_told(store: Store, kit: StoreKit) -> None:
    await accept_calling(store, "odd", "held")
    kit.change(Place.LEDGER, "odd", data=None)
    (odd,) = (await store.relay.runnable(["odd"])).odd
    await store.relay.set_aside(odd, lambda _: True, NOW_MS)
    kit.change(Place.LEDGER, "held", sending=HELD)
    await store.held.let_go([record_of("held", TaskStatus.UNKNOWN)], [])
    assert told(kit) == {"odd.unknown", "held.unknown"}


async def test_an_end_that_a_lost_commit_is_recorded_with_again_has_the_same_callback(
    store: Store, kit: StoreKit
) -> None:
    await accept_calling(store, "t", "u")
    await end(store, "t", "u", status=TaskStatus.SUCCESS)
    await end(store, "u.success.callback", status=TaskStatus.SUCCESS)
    for task_id in ("t", "u"):  # as a promoted standby may lack the ends
        kit.remove(Place.HISTORY, task_id)
    await accept_calling(store, "t", "u")
    await end(store, "t", "u", status=TaskStatus.SUCCESS)
    assert [task.task_id for task in kit.tasks()].count("u.success.callback") == 1
    assert {task.task_id: task.place for task in kit.tasks()} == {
        "t.success.callback": Place.LEDGER,
        "u.success.callback": Place.HISTORY,
        "t": Place.HISTORY,
        "u": Place.HISTORY,
    }


def posting_of(*tasks: Task, batch_id: str = "B", rejected: int = 0, kind: BatchKind = BatchKind.FANOUT) -> Posting:
    """A batch with an address."""
    batch = Batch(
        batch_id=batch_id,
        kind=kind,
        created_at=to_text(START_MS),
        callback_url=URL,
        total=len(tasks) + rejected,
        rejected=rejected,
        unfinished=len(tasks),
    )
    posted = Posted(answer=FirstAnswer(batch_id, "{}"), batch=batch)

    def rule(_: Mapping[str, str]) -> Posted:
        return posted

    return Posting(tasks=tasks, rule=rule)


async def post(store: Store, *task_ids: str, **options: Any) -> None:
    tasks = [make_task(task_id, batch_id="B", callback_url=URL) for task_id in task_ids]
    await store.batches.accept(posting_of(*tasks, **options), START_MS)


def of_batch(kit: StoreKit) -> dict[str, Any]:
    return {name: event for name, event in callbacks(kit).items() if name.startswith("B.")}


async def test_a_batch_is_told_when_its_last_task_has_ended(store: Store, kit: StoreKit) -> None:
    await post(store, "one", "two", "three", rejected=1)
    await end(store, "one", status=TaskStatus.SUCCESS)
    await store.changes.apply(cancel_of("two"), NOW_MS)
    assert of_batch(kit) == {}
    await end(store, "three", status=TaskStatus.SUCCESS)
    assert of_batch(kit) == {
        "B.1": {
            "type": "fanout.partial",
            "timestamp": to_text(ENDED_MS),
            "data": {
                "batch_id": "B",
                "kind": "fanout",
                "status": "partial",
                "round": 1,
                "total": 4,
                "rejected": 1,
                "counts": {"success": 2, "cancelled": 1},
                "created_at": to_text(START_MS),
                "ended_at": to_text(ENDED_MS),
            },
        }
    }
    assert told(kit) == {"one.success", "two.cancelled", "three.success", "B.1"}


@pytest.mark.parametrize(
    ("statuses", "status"),
    [(["success", "success"], "success"), (["failed", "unknown"], "failed"), (["failed", "success"], "partial")],
)
async def test_the_news_of_a_batch_has_its_status(
    store: Store, kit: StoreKit, statuses: Sequence[str], status: str
) -> None:
    await post(store, "0", "1", kind=BatchKind.BATCH)
    await store.ledger.end([record_of(str(number), TaskStatus(one)) for number, one in enumerate(statuses)])
    assert of_batch(kit)["B.1"]["type"] == f"batch.{status}"


async def test_retries_of_a_batch_are_told_when_all_of_them_have_ended(store: Store, kit: StoreKit) -> None:
    await post(store, "one", "two", "three")
    await end(store, "one", status=TaskStatus.SUCCESS)
    await retry(store, "two", "two again", batch_id="another")  # replaces it while it waits
    await end(store, "three")
    assert of_batch(kit) == {}
    await end(store, "two again")
    assert of_batch(kit)["B.1"]["data"]["counts"] == {"success": 1, "failed": 2}
    await retry(store, "two again", "two third")
    await retry(store, "three", "three again")
    await end(store, "two third", status=TaskStatus.SUCCESS)
    assert set(of_batch(kit)) == {"B.1"}
    await end(store, "three again", status=TaskStatus.SUCCESS)
    event = of_batch(kit)["B.2"]
    assert (event["type"], event["data"]["round"], event["data"]["counts"]) == ("fanout.success", 2, {"success": 3})


async def test_of_tasks_that_end_at_once_exactly_one_is_the_last(store: Store, other: Store, kit: StoreKit) -> None:
    await post(store, *map(str, range(12)))
    ends = [(store, other)[number % 2].ledger.end([record_of(str(number), TaskStatus.SUCCESS)]) for number in range(12)]
    await asyncio.gather(*ends)
    assert set(of_batch(kit)) == {"B.1"}
    assert of_batch(kit)["B.1"]["data"]["counts"] == {"success": 12}


async def test_lists_and_counts_leave_callbacks_out_unless_they_are_asked_for(store: Store) -> None:
    await accept_calling(store, "t", "u", title="word")
    await end(store, "t")
    await end(store, "t.failed.callback")
    await end(store, "u", status=TaskStatus.SUCCESS)
    while await store.care.fill_search():
        pass
    hidden = {"t.failed.callback", "u.success.callback"}
    for wanted in (
        TaskFilter(),
        TaskFilter(status="failed"),
        TaskFilter(status="pending"),
        TaskFilter(account_id="a"),
        TaskFilter(created_after_ms=START_MS - 1),
        TaskFilter(error_class="auth"),
        TaskFilter(q="a"),
        TaskFilter(place=Place.LEDGER),
    ):
        page = await store.history.page(wanted, counted=True)
        assert not hidden & set(ids(page.items)), wanted
        assert page.total is not None
        assert page.total.total == len(page.items), wanted
        assert set((await store.history.page_ids(wanted))[0]) == set(ids(page.items))
    assert set(ids((await store.history.page(TaskFilter(platform=("callback",)))).items)) == hidden
    assert (await store.history.total(TaskFilter(platform=("callback",)))).total == 2
    assert ids((await store.history.page(TaskFilter(task_ids=("u.success.callback",)))).items) == ["u.success.callback"]
    summary = await store.history.summary()
    assert (summary.total, summary.by_platform) == (2, {"douyin": 2})
    assert [match.task_id for match in await store.history.find_ids("t", 9)] == ["t"]
    assert [match.task_id for match in await store.history.find_ids("t.", 9)] == ["t.failed.callback"]


async def test_a_callback_is_retried_with_its_data(store: Store, kit: StoreKit) -> None:
    await accept_calling(store, "t")
    await end(store, "t")
    (candidate,) = await store.changes.find(["t.failed.callback"], whole=True)
    assert candidate.data is not None
    assert msgspec.json.decode(candidate.data.task_data)["callback"]["event"]["type"] == "task.failed"
    assert told(kit) == {"t.failed"}
