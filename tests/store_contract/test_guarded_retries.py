"""The duplicate guard of retries and of recurring posts; and the files that edited retries name."""

import asyncio

from msgspec.structs import replace

from everpost.store import Store
from everpost.store.changes import Outcome, Retry
from everpost.task.duplicate_rules import Guard
from everpost.task.model import TaskStatus
from store_contract.making import accept, end
from store_contract.test_batches import duplicates_of
from store_contract.test_changes import FORCED, NOW_MS
from store_contract.test_edits import edit, version_of
from store_contract.test_recurring import fired, recurring
from store_kit import StoreKit
from store_rows import START_MS, make_task, retry_as

GUARD = Guard(digest="d", at_ms=START_MS, window_ms=1_000, is_checked=True)
MISSING = "0" * 32


def guarded(*pairs: tuple[str, str], at_ms: int = START_MS, **fields: object) -> Retry:
    new_tasks = {old: make_task(new, created_at_ms=NOW_MS) for old, new in pairs}
    return retry_as(new_tasks, FORCED, guard=replace(GUARD, at_ms=at_ms, **fields))


async def retry(store: Store, *pairs: tuple[str, str], **fields: int) -> list[str | None]:
    """What forbids each retry; None if it was written."""
    outcomes = await store.changes.apply(guarded(*pairs, **fields), NOW_MS)
    return [outcome.other_task_id for outcome in outcomes]


async def test_a_retry_is_compared_with_all_but_its_own_chain(store: Store, kit: StoreKit) -> None:
    await duplicates_of(store, "first")
    await end(store, "first")
    assert await retry(store, ("first", "again")) == [None]
    await end(store, "again")
    await duplicates_of(store, "twin")
    (outcome,) = await store.changes.apply(guarded(("again", "third")), NOW_MS)
    assert (outcome.reason, outcome.other_task_id, outcome.new_task) == ("duplicate_post", "twin", None)
    assert await retry(store, ("again", "later"), at_ms=START_MS + 1_000) == [None]
    assert [task.task_id for task in kit.tasks()] == ["twin", "later", "first", "again"]


async def test_the_window_of_a_chain_is_that_of_its_newest_task(store: Store) -> None:
    await duplicates_of(store, "first")
    await end(store, "first")
    assert await retry(store, ("first", "again"), at_ms=START_MS + 5_000) == [None]
    assert await duplicates_of(store, "now") == {}
    assert await duplicates_of(store, "then", at_ms=START_MS + 5_500) == {"then": "first"}


async def test_of_twins_that_are_retried_together_the_first_is_written(store: Store) -> None:
    await accept(store, "one", "two")
    await end(store, "one", "two")
    assert await retry(store, ("one", "one again"), ("two", "two again")) == [None, "one"]
    await end(store, "one again", status=TaskStatus.SUCCESS)
    assert await retry(store, ("two", "two again")) == ["one"]


async def test_of_concurrent_retries_and_posts_of_one_content_exactly_one_is_written(
    store: Store, other: Store, kit: StoreKit
) -> None:
    names = [f"{number}" for number in range(6)]
    await accept(store, *names)
    await end(store, *names)

    async def retried(one: Store, name: str) -> bool:
        return await retry(one, (name, f"{name} again")) == [None]

    async def posted(one: Store, name: str) -> bool:
        return await duplicates_of(one, f"new {name}") == {}

    both = (store, other)
    calls = [(retried, posted)[number % 2](both[number // 2 % 2], name) for number, name in enumerate(names * 2)]
    assert sum(await asyncio.gather(*calls)) == 1
    assert len(kit.tasks()) == len(names) + 1


async def test_a_duplicate_is_found_without_writing_anything(store: Store, kit: StoreKit) -> None:
    assert await store.batches.find_duplicates({"": GUARD}) == {}
    await duplicates_of(store, "first")
    assert await store.batches.find_duplicates({"": GUARD}) == {"": "first"}
    assert await store.batches.find_duplicates({"": replace(GUARD, is_checked=False)}) == {}
    assert [task.task_id for task in kit.tasks()] == ["first"]


async def test_an_occurrence_is_not_refused_and_forbids_single_posts(store: Store) -> None:
    before = recurring("r")
    await store.recurring.add(before)
    await duplicates_of(store, "first")
    assert await store.recurring.change(before, fired(before), make_task("made"), START_MS, GUARD)
    await end(store, "first")
    assert await duplicates_of(store, "second") == {"second": "made"}


async def test_an_edited_retry_names_files_that_are_there(store: Store, kit: StoreKit) -> None:
    await accept(store, "t")
    await end(store, "t")

    async def edited(file_id: str) -> Outcome:
        task = make_task("new", created_at_ms=NOW_MS, file_ids=(file_id,))
        (outcome,) = await store.changes.apply(retry_as({"t": task}, FORCED, is_edited=True), NOW_MS)
        return outcome

    refused = await edited(MISSING)
    assert (refused.reason, refused.new_task) == ("unknown_file", None)
    assert [task.task_id for task in kit.tasks()] == ["t"]
    assert (await edited("the-client's own")).reason is None


async def test_an_edited_task_is_compared_with_its_new_content(store: Store, kit: StoreKit) -> None:
    await duplicates_of(store, "first")
    await duplicates_of(store, "other", digest="e")
    assert (await edit(store, version_of("other", guard=GUARD, former_digest="e"))).other_task_id == "first"
    outcome = await edit(store, version_of("other", guard=replace(GUARD, digest="f"), former_digest="e"))
    assert outcome.reason is None
    assert await duplicates_of(store, "old content", digest="e") == {}
    assert await duplicates_of(store, "new content", digest="f") == {"new content": "other"}
    assert [task.task_id for task in kit.tasks()] == ["first", "other", "old content"]
