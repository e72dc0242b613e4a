"""The ledger's part of the contract: accepting, claiming, attempts and ends, one caller at a time."""

import msgspec
import pytest

from everpost.clock import SinceBoot, to_text
from everpost.errors import KeyReused
from everpost.store import Store
from everpost.store.changes import BringBack
from everpost.store.history import TaskFilter
from everpost.store.ledger import ClaimFacts, FirstAnswer, Once, TaskExistsError
from everpost.task.candidate import StoredData
from everpost.task.model import Attempt, ErrorClass, TaskColumns, TaskRecord, TaskStatus
from everpost.task.place import Place
from store_contract.conftest import Stores
from store_contract.making import accept, add_ended, attempt_of, end, facts_of, key_of, once_of, record_of
from store_contract.test_changes import retry_of
from store_kit import StoreKit
from store_rows import START_MS, make_task, remove

DUE_MS = START_MS + 60_000


def places(kit: StoreKit) -> dict[str, Place]:
    return {task.task_id: task.place for task in kit.tasks()}


async def test_accepted_tasks_are_in_the_ledger_as_they_came(store: Store, kit: StoreKit) -> None:
    tasks = [make_task("a", priority=2, batch_id="batch"), make_task("later", due_at_ms=DUE_MS)]
    assert await store.ledger.accept(tasks, START_MS) is None
    assert places(kit) == {"a": Place.LEDGER, "later": Place.LEDGER}
    (stored,) = await store.changes.find(["a"], whole=True)
    assert stored.data == StoredData(place=Place.LEDGER, task_data=tasks[0].task_data, priority=2)
    found = await store.history.find_task("a")
    assert found is not None
    assert (found.priority, found.batch_id, found.created_at) == (2, "batch", to_text(START_MS))
    assert (await facts_of(store, "later")).status == TaskStatus.SCHEDULED
    assert await store.ledger.count_unfinished() == 2


async def test_no_tasks_are_accepted_and_ended_as_nothing(store: Store, kit: StoreKit) -> None:
    assert await store.ledger.accept([], START_MS) is None
    assert await store.ledger.end([]) == []
    assert (await store.ledger.adopt([], START_MS)).known == {}
    assert (await store.ledger.check_claims({})).known == {}
    assert kit.tasks() == []


async def test_of_tasks_that_cannot_all_be_accepted_none_is(store: Store, kit: StoreKit) -> None:
    await accept(store, "there")
    with pytest.raises(TaskExistsError):
        await store.ledger.accept([make_task("new"), make_task("there")], START_MS)
    assert list(places(kit)) == ["there"]
    await accept(store, "new")  # the refusal left nothing behind


async def test_a_retry_chain_has_at_most_one_unfinished_task(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "root")
    await accept(store, "retry", root_id="root", retry_of="root", generation=1)
    with pytest.raises(TaskExistsError):
        await accept(store, "twin", root_id="root", retry_of="root", generation=1)
    assert kit.find_chains_twice_alive() == []


async def test_a_request_with_a_key_is_accepted_once(store: Store, kit: StoreKit) -> None:
    once = once_of()
    assert await store.ledger.accept([make_task("first")], START_MS, once) is None
    assert await store.ledger.accept([make_task("second")], START_MS, once_of(answer="second")) == once.answer
    assert await store.ledger.find_answer(key_of()) == once.answer
    assert list(places(kit)) == ["first"]


async def test_a_key_is_refused_for_another_request(store: Store, kit: StoreKit) -> None:
    await store.ledger.accept([make_task("first")], START_MS, once_of())
    with pytest.raises(KeyReused):
        await store.ledger.accept([make_task("second")], START_MS, once_of(body="another body"))
    with pytest.raises(KeyReused):
        await store.ledger.find_answer(key_of(body="another body"))
    assert list(places(kit)) == ["first"]


async def test_a_request_is_found_that_its_caller_made_before_it_had_a_name(store: Store) -> None:
    before = once_of("k", answer="before")
    named = msgspec.structs.replace(key_of("shop\nk"), nameless="k")
    assert await store.ledger.find_answer(named) is None
    await store.ledger.accept([make_task("before")], START_MS, before)
    assert await store.ledger.find_answer(named) == before.answer
    other = msgspec.structs.replace(named, fingerprint="another body")
    assert await store.ledger.find_answer(other) is None
    mine = Once(other, FirstAnswer("mine", "mine"))
    assert await store.ledger.accept([make_task("mine")], START_MS, mine) is None
    assert await store.ledger.find_answer(other) == mine.answer
    with pytest.raises(KeyReused):
        await store.ledger.find_answer(named)


async def test_the_key_of_tasks_that_could_not_be_accepted_is_free(store: Store) -> None:
    await accept(store, "there")
    with pytest.raises(TaskExistsError):
        await store.ledger.accept([make_task("there")], START_MS, once_of())
    assert await store.ledger.find_answer(key_of()) is None
    assert await store.ledger.accept([make_task("new")], START_MS, once_of()) is None


async def test_an_unused_key_has_no_answer(store: Store) -> None:
    assert await store.ledger.find_answer(key_of("never used")) is None


async def test_a_task_that_only_redis_knew_is_adopted_with_its_facts(store: Store) -> None:
    adopted = await store.ledger.adopt([make_task("a", platform="weibo")], START_MS)
    assert adopted.known == {"a": ClaimFacts("a", "pending", 0, None, "a", 0, "weibo", None)}
    assert adopted.ended == set()
    assert (await store.ledger.adopt([make_task("a")], START_MS)).known == adopted.known  # it stays as it is
    assert await store.ledger.count_unfinished() == 1


async def test_an_ended_or_retried_task_is_not_adopted(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "ended", "archived", "retried")
    await accept(store, "retry", root_id="retried", retry_of="retried", generation=1)
    kit.remove(Place.HISTORY, "retried")  # as a purge does in the end
    tasks = [make_task(task_id) for task_id in ("ended", "retried", "new")]
    adopted = await store.ledger.adopt(tasks, START_MS)
    assert (set(adopted.known), adopted.ended) == ({"new"}, {"ended", "retried"})
    assert sorted(places(kit)) == ["archived", "ended", "new", "retry"]


async def test_claims_are_compared_with_the_ledger_byte_by_byte(store: Store) -> None:
    same, forged = make_task("same"), make_task("forged", title="one title")
    await accept(store, same, forged, "shorter", "absent")
    await add_ended(store, "ended")
    as_long = forged.task_data.replace(b"one title", b"two title")
    offered = {
        "same": same.task_data,
        "forged": as_long,
        "shorter": b"{}",
        "absent": None,
        "ended": None,
        "nowhere": b"{}",
    }
    found = await store.ledger.check_claims(offered)
    assert set(found.known) == {"same", "forged", "shorter", "absent"}
    assert (found.ended, sorted(found.differing)) == ({"ended"}, ["absent", "forged", "shorter"])


async def test_an_archived_task_must_not_run(store: Store, kit: StoreKit) -> None:
    kit.add(Place.ARCHIVE, {"task_id": "archived", "status": "failed"})
    assert (await store.ledger.check_claims({"archived": None})).ended == {"archived"}


async def test_the_facts_of_a_claimed_task_follow_its_attempts(store: Store) -> None:
    await accept(store, "root", "task", platform="weibo")
    await end(store, "root")
    await accept(store, "retry", root_id="root", retry_of="root", generation=3, platform="weibo")
    assert await facts_of(store, "retry") == ClaimFacts("retry", "pending", 0, None, "root", 3, "weibo", None)
    await store.ledger.begin_send("task", 1, START_MS)
    assert (await facts_of(store, "task")).sending == 1
    attempt = attempt_of(1, error_class=ErrorClass.TRANSIENT, error="503")
    await store.ledger.defer("task", attempt, DUE_MS, spent=True)
    facts = await facts_of(store, "task")
    assert (facts.status, facts.spent, facts.sending) == (TaskStatus.RETRY, 1, None)
    assert msgspec.json.decode(facts.attempts or "", type=list[Attempt]) == [attempt]


async def test_an_attempt_that_never_reported_is_noted_once(store: Store) -> None:
    await accept(store, "task")
    await store.ledger.begin_send("task", 1, START_MS)

    def rule(facts: ClaimFacts) -> list[Attempt]:
        assert facts.sending == 1
        return [attempt_of(1, TaskStatus.UNKNOWN, started_at="", finished_at=None)]

    for _ in range(2):
        noted = await store.ledger.note_lost_attempts(["task", "nowhere"], rule)
        assert set(noted) == {"task"}
        (attempt,) = msgspec.json.decode(noted["task"].attempts or "", type=list[Attempt])
        assert (attempt.number, attempt.finished_at, attempt.started_at) == (1, None, to_text(START_MS))


async def test_no_attempt_is_noted_if_the_rule_finds_none(store: Store) -> None:
    await accept(store, "task")
    noted = await store.ledger.note_lost_attempts(["task"], lambda _: [])
    assert noted["task"].attempts is None


async def test_an_intent_is_replaced_only_by_an_attempt_that_names_it(store: Store) -> None:
    await accept(store, "task")
    assert await store.ledger.begin_send("task", 1, START_MS)
    assert not await store.ledger.begin_send("task", 2, START_MS)
    assert not await store.ledger.begin_send("task", 3, START_MS, earlier=2)
    assert await store.ledger.begin_send("task", 2, START_MS, earlier=1)
    assert (await facts_of(store, "task")).sending == 2


async def test_the_age_of_an_intent_is_kept_by_the_time_since_boot(store: Store) -> None:
    await accept(store, "task")
    await store.ledger.begin_send("task", 1, START_MS, since_boot=SinceBoot("boot", 7))
    noted = await store.ledger.note_lost_attempts(["task"], lambda _: [attempt_of(1, started_at="", finished_at=None)])
    (attempt,) = msgspec.json.decode(noted["task"].attempts or "", type=list[Attempt])
    assert attempt.since_boot == SinceBoot("boot", 7)


async def test_nothing_is_sent_of_a_task_that_is_not_in_the_ledger(store: Store) -> None:
    await add_ended(store, "ended")
    for task_id in ("ended", "nowhere"):
        assert not await store.ledger.begin_send(task_id, 1, START_MS)
        await store.ledger.cancel_send(task_id, 1, START_MS)
        await store.ledger.defer(task_id, attempt_of(), DUE_MS, spent=True)
    found = await store.history.find_task("ended")
    assert found is not None
    assert (found.status, len(found.attempts)) == (TaskStatus.FAILED, 1)


async def test_only_an_attempt_s_own_intent_is_taken_back(store: Store) -> None:
    await accept(store, "task")
    await store.ledger.begin_send("task", 2, START_MS)
    await store.ledger.cancel_send("task", 1, START_MS)
    await store.ledger.defer("task", attempt_of(1), DUE_MS, spent=True)  # it was overtaken
    assert (await facts_of(store, "task")).sending == 2
    await store.ledger.cancel_send("task", 2, START_MS)
    assert (await facts_of(store, "task")).sending is None
    assert await store.ledger.begin_send("task", 3, START_MS)


async def test_an_attempt_that_spends_nothing_is_not_counted(store: Store) -> None:
    await accept(store, "task")
    await store.ledger.defer("task", attempt_of(1), DUE_MS, spent=False)
    await store.ledger.defer("task", attempt_of(2), DUE_MS, spent=True)
    facts = await facts_of(store, "task")
    assert (facts.spent, facts.status) == (1, TaskStatus.RETRY)
    found = await store.history.find_task("task")
    assert found is not None
    assert (found.due_at, [attempt["number"] for attempt in found.attempts]) == (to_text(DUE_MS), [1, 2])


async def test_an_ended_task_moves_into_the_history_with_all_it_was(store: Store, kit: StoreKit) -> None:
    task = make_task("task", priority=1, batch_id="batch")
    await accept(store, task)
    await store.ledger.defer("task", attempt_of(1), DUE_MS, spent=True)
    record = record_of(
        "task", number=2, provider_post_id="post", publish_url="https://example.test/p", result='{"views": 1}'
    )
    assert await store.ledger.end([record]) == []
    assert places(kit) == {"task": Place.HISTORY}
    found = await store.history.find_task("task")
    assert found is not None
    assert (found.status, found.priority, found.batch_id) == (TaskStatus.SUCCESS, 1, "batch")
    assert (found.provider_post_id, found.publish_url, found.result) == ("post", "https://example.test/p", {"views": 1})
    assert [attempt["number"] for attempt in found.attempts] == [1, 2]
    assert found.completed_at == to_text(record.finished_at_ms)
    assert kit.tasks()[0].data == msgspec.json.decode(task.task_data)
    assert await store.ledger.count_unfinished() == 0


async def test_the_same_end_twice_changes_nothing(store: Store, kit: StoreKit) -> None:
    await accept(store, "task")
    record = record_of("task", TaskStatus.FAILED)
    assert await store.ledger.end([record]) == []
    before = await store.history.find_task("task")
    assert await store.ledger.end([record]) == ["task"]
    assert await store.history.find_task("task") == before
    assert len(kit.tasks()) == 1


async def test_a_late_failure_is_one_more_attempt_and_a_late_success_tells_the_truth(store: Store) -> None:
    await add_ended(store, "task", status=TaskStatus.UNKNOWN)
    for _ in range(2):
        assert await store.ledger.end([record_of("task", TaskStatus.FAILED, number=2)]) == ["task"]
    found = await store.history.find_task("task")
    assert found is not None
    assert found.status == TaskStatus.UNKNOWN
    assert [(attempt["number"], attempt.get("late", False)) for attempt in found.attempts] == [(1, False), (2, True)]
    assert await store.ledger.end([record_of("task", number=3, provider_post_id="post")]) == ["task"]
    found = await store.history.find_task("task")
    assert found is not None
    assert (found.status, found.provider_post_id) == (TaskStatus.SUCCESS, "post")
    await store.ledger.end([record_of("task", TaskStatus.FAILED, number=4)])
    found = await store.history.find_task("task")
    assert found is not None
    assert (found.status, found.provider_post_id) == (TaskStatus.SUCCESS, "post")


async def test_a_record_of_a_task_that_no_place_has_gets_an_entry_of_its_own(store: Store, kit: StoreKit) -> None:
    stray = TaskRecord(
        task_id="stray",
        status=TaskStatus.FAILED,
        task_data=b'{"platform": 1}',
        columns=TaskColumns(platform="douyin"),
        finished_at_ms=START_MS,
        error_class=ErrorClass.INVALID,
    )
    raw = TaskRecord(task_id="raw", status=TaskStatus.FAILED, finished_at_ms=START_MS, raw_job=b"\x80no data")
    await accept(store, "task")
    assert await store.ledger.end([stray, record_of("task"), raw]) == []
    assert set(places(kit).values()) == {Place.HISTORY}
    found = await store.history.find_task("stray")
    assert found is not None
    assert (found.status, found.platform, found.error_class) == (TaskStatus.FAILED, "douyin", "invalid")
    assert kit.columns(Place.HISTORY, "raw", "raw_job") == (b"\x80no data",)


async def test_a_record_gets_its_data_only_if_no_place_has_its_task(store: Store, kit: StoreKit) -> None:
    there, lost = make_task("there", title="accepted"), make_task("lost", title="lost")
    await accept(store, there)
    await add_ended(store, "cancelled", status=TaskStatus.CANCELLED)
    kit.add(Place.ARCHIVE, {"task_id": "archived", "status": "failed", "data": '{"title":"archived"}'})
    before = {task.task_id: task.data for task in kit.tasks()}
    asked: list[str] = []

    def with_data(record: TaskRecord) -> TaskRecord:
        asked.append(record.task_id)
        return msgspec.structs.replace(record, task_data=lost.task_data)

    columns = TaskColumns(platform="weibo")
    records = [
        record_of("there", columns=columns),
        record_of("lost", TaskStatus.FAILED, columns=columns),
        record_of("lost unread", TaskStatus.FAILED),
        record_of("cancelled", TaskStatus.FAILED, number=2),
        record_of("archived", TaskStatus.FAILED, number=2),
    ]
    for late in (["cancelled", "archived"], [record.task_id for record in records]):
        assert await store.ledger.end(records, [record_of("nowhere", number=3)], with_data) == late
        assert asked == ["lost", "lost unread"]
    after = {task.task_id: task.data for task in kit.tasks()}
    whole = msgspec.json.decode(lost.task_data)
    assert after == before | {"lost": whole, "lost unread": whole}
    for task_id, platform in (("lost", "weibo"), ("lost unread", "douyin")):  # the second one's is from its data
        found = await store.history.find_task(task_id)
        assert found is not None
        assert (found.status, found.platform, len(found.attempts)) == (TaskStatus.FAILED, platform, 1)


async def test_a_record_of_a_lost_task_that_stands_alone_gets_its_data(store: Store, kit: StoreKit) -> None:
    lost = make_task("lost")
    record = record_of("lost", TaskStatus.FAILED, columns=TaskColumns(platform="douyin"))
    await store.ledger.end([record], (), lambda record: msgspec.structs.replace(record, task_data=lost.task_data))
    (task,) = kit.tasks()
    assert task.data == msgspec.json.decode(lost.task_data)
    (candidate,) = await store.changes.find(["lost"], whole=True)
    assert candidate.data is not None
    assert candidate.data.task_data == lost.task_data  # what a retry needs


async def test_of_an_overtaken_record_only_the_attempt_is_kept(store: Store, kit: StoreKit) -> None:
    await accept(store, "running")
    await add_ended(store, "ended", status=TaskStatus.SUCCESS)
    overtaken = [record_of(task_id, TaskStatus.FAILED, number=9) for task_id in ("running", "ended")]
    for _ in range(2):  # a worker repeats a report that failed halfway
        await store.ledger.end([], overtaken)
    assert places(kit) == {"running": Place.LEDGER, "ended": Place.HISTORY}
    assert str((await facts_of(store, "running")).attempts).count('"number":9') == 1
    found = await store.history.find_task("ended")
    assert found is not None
    assert (found.status, [attempt["number"] for attempt in found.attempts]) == (TaskStatus.SUCCESS, [1, 9])


async def test_two_ends_of_one_task_in_one_call_are_an_end_and_a_late_record(store: Store, kit: StoreKit) -> None:
    await accept(store, "task", "other")
    records = [record_of("task", TaskStatus.FAILED), record_of("other"), record_of("task", number=2)]
    assert await store.ledger.end(records) == ["task"]
    assert places(kit) == {"task": Place.HISTORY, "other": Place.HISTORY}


async def test_inherited_tasks_do_not_count_as_backlog_and_are_not_claimed(store: Store, kit: StoreKit) -> None:
    kit.add(Place.LEDGER, {"task_id": "old", "data": "{}"})
    assert await store.ledger.count_unfinished() == 0


async def test_scheduled_tasks_become_pending_when_their_time_has_come(store: Store) -> None:
    await accept(store, *(make_task(f"t{number}", due_at_ms=DUE_MS + number) for number in range(5)))
    assert await store.ledger.promote_due(DUE_MS - 1) == 0
    assert await store.ledger.promote_due(DUE_MS + 3, limit=3) == 3
    assert await store.ledger.promote_due(DUE_MS + 3, limit=3) == 1
    statuses = [(await facts_of(store, f"t{number}")).status for number in range(5)]
    assert statuses == ["pending"] * 4 + ["scheduled"]


async def test_writes_are_there_after_everything_was_closed(stores: Stores) -> None:
    store = await stores.open()
    await accept(store, "waits")
    await add_ended(store, "ended")
    await store.ledger.accept([make_task("keyed")], START_MS, once_of())
    await stores.close()
    store = await stores.open()
    assert set((await store.ledger.check_claims({"waits": None, "keyed": None})).known) == {"waits", "keyed"}
    assert await store.history.find_task("ended") is not None
    assert await store.ledger.find_answer(key_of()) == once_of().answer


async def test_the_submitter_of_a_task_is_kept_wherever_the_task_goes(store: Store, other: Store) -> None:
    async def submitters() -> dict[str, str | None]:
        found = [await other.history.find_task(task_id) for task_id in ("one", "late", "nobody", "new")]
        return {task.task_id: task.submitted_by for task in found if task is not None}

    tasks = [
        make_task("one", submitted_by="shop"),
        make_task("late", submitted_by="shop", late_at_ms=START_MS + 10_000),
        make_task("nobody"),
    ]
    await store.ledger.accept(tasks[:2], START_MS)
    await store.ledger.accept(tasks[2:], START_MS, once_of())
    expected: dict[str, str | None] = {"one": "shop", "late": "shop", "nobody": None}
    assert await submitters() == expected
    await end(store, "one", "nobody")
    assert await submitters() == expected
    await store.changes.apply(retry_of(("one", "new")), START_MS)
    await end(store, "new")
    assert await submitters() == expected | {"new": "shop"}
    await remove(store, "one", "new")
    assert await submitters() == expected | {"new": "shop"}
    page = await store.history.page(TaskFilter(submitted_by="shop"))
    assert [(row.task_id, row.submitted_by) for row in page.items] == [("late", "shop")]
    await store.changes.apply(BringBack(["one", "new"]), START_MS)
    assert await submitters() == expected | {"new": "shop"}
