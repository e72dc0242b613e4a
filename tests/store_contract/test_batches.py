"""The contract of batches: a fan-out is written with its tasks and its key, or not at all; the newest tasks count."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from everpost.clock import to_text
from everpost.errors import KeyReused
from everpost.store import Store
from everpost.store.batches import Batch, BatchKind, ChainEnd, Posted, Posting
from everpost.store.ledger import FirstAnswer, IdempotencyKey, TaskExistsError
from everpost.task.duplicate_rules import Guard
from everpost.task.fanout_rules import FanoutItem
from everpost.task.model import Task, TaskStatus
from everpost.task.place import Place
from store_contract.making import accept, end, key_of
from store_contract.test_changes import FORCED, retry_of
from store_kit import StoreKit
from store_rows import START_MS, make_task, remove

ODD = "测试 \0 😀"


def posting_of(
    *tasks: Task, fanout_id: str = "F", key: IdempotencyKey | None = None, items: Sequence[FanoutItem] | None = None
) -> Posting:
    """A fan-out of tasks."""
    made = [
        FanoutItem(index=number, platform="douyin", account_id=task.account_id, task_id=task.task_id)
        for number, task in enumerate(tasks)
    ]

    def rule(_: Mapping[str, str]) -> Posted:
        batch = Batch(batch_id=fanout_id, kind=BatchKind.FANOUT, items=items or made, created_at=to_text(START_MS))
        return Posted(answer=FirstAnswer(fanout_id, f'{{"id":"{fanout_id}"}}'), batch=batch)

    return Posting(tasks=tasks, rule=rule, key=key)


async def ends_of(store: Store, fanout_id: str = "F") -> dict[str, ChainEnd]:
    found = await store.batches.find(fanout_id)
    assert found is not None
    return {end.chain_id: end for end in found[1]}


async def test_a_fan_out_is_found_with_its_tasks(store: Store) -> None:
    rejected = FanoutItem(index=1, platform="douyin", account_id=ODD, code="invalid_value", message=ODD, path="$.a")
    items = [FanoutItem(index=0, platform="douyin", account_id="a", task_id="one"), rejected]
    posting = posting_of(make_task("one", batch_id="F"), items=items)
    accepted = await store.batches.accept(posting, START_MS)
    assert ([task.task_id for task in accepted.tasks], accepted.is_repeated) == (["one"], False)
    found = await store.batches.find("F")
    assert found is not None
    batch, ends = found
    assert (batch.kind, batch.items[0], batch.created_at) == (BatchKind.FANOUT, items[0], to_text(START_MS))
    assert batch.items[1].path == "$.a"
    assert ends == [ChainEnd(chain_id="one", task_id="one", generation=0, place=Place.LEDGER, status="pending")]
    assert await store.batches.find("G") is None
    assert await store.batches.find(ODD) is None


async def test_the_newest_task_of_each_chain_counts_wherever_it_is(store: Store) -> None:
    tasks = [make_task(name, batch_id="F") for name in ("waits", "ended", "retried", "deleted")]
    await store.batches.accept(posting_of(*tasks), START_MS)
    await end(store, "ended", status=TaskStatus.SUCCESS, publish_url="https://x/1", provider_post_id="1")
    await end(store, "retried", "deleted")
    await store.changes.apply(retry_of(("retried", "again"), rule=FORCED), START_MS)
    await end(store, "again", status=TaskStatus.UNKNOWN)
    await store.changes.apply(retry_of(("again", "third"), rule=FORCED), START_MS)
    await remove(store, "deleted", "retried")
    shown = {
        chain: (end.task_id, end.generation, end.place, end.status) for chain, end in (await ends_of(store)).items()
    }
    assert shown == {
        "waits": ("waits", 0, Place.LEDGER, "pending"),
        "ended": ("ended", 0, Place.HISTORY, "success"),
        "retried": ("third", 2, Place.LEDGER, "pending"),
        "deleted": ("deleted", 0, Place.ARCHIVE, "failed"),
    }
    ended = (await ends_of(store))["ended"]
    assert (ended.provider_post_id, ended.publish_url) == ("1", "https://x/1")


async def test_a_key_is_used_for_one_fan_out(store: Store, kit: StoreKit) -> None:
    first = await store.batches.accept(posting_of(make_task("one"), key=key_of()), START_MS)
    second = await store.batches.accept(posting_of(make_task("two"), fanout_id="G", key=key_of()), START_MS)
    assert (second.tasks, second.answer, second.is_repeated) == ((), first.answer, True)
    with pytest.raises(KeyReused):
        await store.batches.accept(posting_of(make_task("two"), fanout_id="G", key=key_of(body="other")), START_MS)
    assert [task.task_id for task in kit.tasks()] == ["one"]
    assert await store.batches.find("G") is None


async def test_of_concurrent_fan_outs_with_one_key_exactly_one_is_written(
    store: Store, other: Store, kit: StoreKit
) -> None:
    def post(number: int) -> Any:
        posting = posting_of(make_task(f"{number}a"), make_task(f"{number}b"), fanout_id=f"F{number}", key=key_of())
        return (store, other)[number % 2].batches.accept(posting, START_MS)

    accepted = await asyncio.gather(*(post(number) for number in range(10)))
    (new,) = [one for one in accepted if not one.is_repeated]
    assert {one.answer for one in accepted} == {new.answer}
    assert [task.task_id for task in kit.tasks()] == [task.task_id for task in new.tasks]


async def test_a_fan_out_with_a_task_that_cannot_be_written_leaves_nothing(store: Store, kit: StoreKit) -> None:
    await accept(store, "taken")
    with pytest.raises(TaskExistsError):
        await store.batches.accept(posting_of(make_task("new"), make_task("taken"), key=key_of()), START_MS)
    assert [task.task_id for task in kit.tasks()] == ["taken"]
    assert await store.batches.find("F") is None
    assert await store.ledger.find_answer(key_of()) is None


def guarded(*task_ids: str, digest: str = "d", **options: Any) -> Posting:
    """A posting of tasks with guards; the answer names the refused ones."""
    tasks = [make_task(task_id) for task_id in task_ids]
    fields: dict[str, Any] = {"digest": digest, "at_ms": START_MS, "window_ms": 1_000, "is_checked": True}
    guard = Guard(**fields | options)

    def rule(duplicates: Mapping[str, str]) -> Posted:
        return Posted(answer=FirstAnswer("answer", " ".join(sorted(duplicates))))

    return Posting(tasks=tasks, rule=rule, guards=dict.fromkeys(task_ids, guard))


async def duplicates_of(store: Store, *task_ids: str, **options: Any) -> Mapping[str, str]:
    return (await store.batches.accept(guarded(*task_ids, **options), START_MS)).duplicates


async def test_a_recent_post_of_the_same_content_is_refused(store: Store, kit: StoreKit) -> None:
    assert await duplicates_of(store, "first") == {}
    assert await duplicates_of(store, "second") == {"second": "first"}
    assert await duplicates_of(store, "other", digest="e") == {}
    assert await duplicates_of(store, "later", at_ms=START_MS + 1_000) == {}
    assert await duplicates_of(store, "allowed", is_checked=False) == {}
    assert [task.task_id for task in kit.tasks()] == ["first", "other", "later", "allowed"]


async def test_a_post_that_was_not_made_forbids_nothing_until_its_retry_lives(store: Store) -> None:
    assert await duplicates_of(store, "first") == {}
    await end(store, "first")
    await store.changes.apply(retry_of(("first", "again"), rule=FORCED), START_MS)
    assert await duplicates_of(store, "second") == {"second": "first"}
    await end(store, "again")
    assert await duplicates_of(store, "third") == {}
    await end(store, "third", status=TaskStatus.SUCCESS)
    await remove(store, "third")
    assert await duplicates_of(store, "fourth") == {"fourth": "third"}


async def test_of_one_posting_the_first_is_accepted_and_the_answer_knows_the_others(store: Store) -> None:
    accepted = await store.batches.accept(guarded("one", "two", "three"), START_MS)
    assert accepted.duplicates == {"two": "one", "three": "one"}
    assert ([task.task_id for task in accepted.tasks], accepted.answer.body) == (["one"], "three two")


async def test_a_posting_of_duplicates_only_writes_nothing_and_leaves_its_key_free(store: Store, kit: StoreKit) -> None:
    await duplicates_of(store, "first")
    posting = replace(guarded("second"), key=key_of())
    assert (await store.batches.accept(posting, START_MS)).tasks == ()
    assert await store.ledger.find_answer(key_of()) is None
    assert [task.task_id for task in kit.tasks()] == ["first"]


async def test_of_concurrent_duplicates_exactly_one_is_accepted(store: Store, other: Store, kit: StoreKit) -> None:
    posts = [duplicates_of((store, other)[number % 2], f"{number}", f"{number}x", digest="d") for number in range(10)]
    refused = [refused for duplicates in await asyncio.gather(*posts) for refused in duplicates]
    assert len(refused) == 19
    assert len(kit.tasks()) == 1


async def test_digests_are_forgotten_once_their_window_has_ended(store: Store) -> None:
    await duplicates_of(store, "first")
    await store.care.forget_expired(0, None)
    await store.care.forget_expired(0, START_MS + 1_000)
    assert await duplicates_of(store, "second") == {"second": "first"}
    await store.care.forget_expired(0, START_MS + 1_001)
    assert await duplicates_of(store, "third") == {}
