"""What is due, and lists of batches and operations: the contract of the lists that pages show."""

import msgspec
import pytest

from everpost.errors import InvalidValue
from everpost.store import Store
from store_contract.making import accept, add_ended
from store_contract.test_operations import operation_of
from store_rows import START_MS, begin, ids, make_task

MINUTE_MS = 60_000


async def test_what_is_due_comes_in_the_order_of_its_time(store: Store) -> None:
    due = {"c": 5, "a": 10, "b": 10, "d": 20, "e": 30}
    await accept(store, *(make_task(name, due_at_ms=START_MS + at * MINUTE_MS) for name, at in due.items()), "now")
    found: list[str] = []
    cursor = None
    while True:
        page = await store.history.page_due(START_MS, START_MS + 30 * MINUTE_MS, cursor, 2)
        found += ids(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == ["c", "a", "b", "d"]
    assert ids((await store.history.page_due(START_MS + 10 * MINUTE_MS, START_MS + 11 * MINUTE_MS)).items) == ["a", "b"]
    bounds = [START_MS + at * MINUTE_MS for at in (0, 10, 11, 40, 50)]
    assert [(one.total, one.total_is_exact) for one in await store.history.count_due(bounds)] == [
        (1, True), (2, True), (2, True), (0, True),
    ]  # fmt: skip


async def test_due_tasks_and_batches_are_counted_within_a_reach(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [
        make_task(f"t{n}", platform=platform, account_id=account, due_at_ms=START_MS + n * MINUTE_MS, batch_id="b")
        for n, (platform, account) in enumerate((("x", "a"), ("x", "b"), ("y", "a"), ("y", "b"), ("z", "a")), 1)
    ]
    await accept(store, *tasks, make_task("other", platform="z", account_id="a", batch_id="c"))
    bounds, reach = [START_MS, START_MS + 10 * MINUTE_MS, START_MS + 20 * MINUTE_MS], ("x", "y\na")
    counted = await store.history.count_due(bounds, reach)
    assert [(one.total, one.total_is_exact) for one in counted] == [(3, True), (0, True)]
    batches = await store.batches.page(None, 9, reach)
    assert [(one.batch_id, one.counts, one.is_exact) for one in batches] == [
        ("c", {}, True),
        ("b", {"scheduled": 3}, True),
    ]
    monkeypatch.setattr(f"{type(store.history).__module__}.LOOKED_AT", 2)
    (first, _) = await store.history.count_due(bounds, reach)
    assert (first.total, first.total_is_exact) == (2, False)


async def test_a_task_that_became_due_is_not_listed_as_due_later(store: Store) -> None:
    await accept(store, make_task("a", due_at_ms=START_MS + MINUTE_MS))
    await store.ledger.promote_due(START_MS + 2 * MINUTE_MS)
    assert (await store.history.page_due(START_MS, START_MS + 30 * MINUTE_MS)).items == []


@pytest.mark.parametrize(("after", "limit"), [("not one", 10), (None, 0), (None, 1_001)])
async def test_a_wrong_cursor_or_limit_is_refused(store: Store, after: str | None, limit: int) -> None:
    with pytest.raises(InvalidValue):
        await store.history.page_due(START_MS, START_MS, after, limit)


async def test_batches_are_listed_with_the_newest_first(store: Store) -> None:
    await add_ended(store, make_task("a", batch_id="b1"), make_task("b", batch_id="b3", title="first"))
    await accept(store, make_task("c", batch_id="b3"), make_task("d", batch_id="b2"), "e")
    await begin(store, operation_of("b2"))
    found = await store.batches.page(None, 2)
    assert [(one.batch_id, one.kind, one.counts) for one in found] == [
        ("b3", "batch", {"failed": 1, "pending": 1}),
        ("b2", "retry", {"pending": 1}),
    ]
    assert found[0].is_exact
    assert [one.batch_id for one in await store.batches.page("b2")] == ["b1"]
    assert await store.batches.page("b1") == []


async def test_operations_are_listed_with_the_newest_first(store: Store) -> None:
    operations = [operation_of(name) for name in ("o1", "o2", "o3")]
    for operation in operations:
        await begin(store, operation)
    assert await store.operations.page(None, 2) == operations[:0:-1]
    assert await store.operations.page("o2") == [msgspec.structs.replace(operations[0])]
