"""The changes' part of the contract: retry, cancel, remove, resolve. The rule decides under the store's lock, once."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from everpost.clock import to_text
from everpost.store import Store
from everpost.store.archive import Reason
from everpost.store.changes import (
    NOT_NEWEST,
    RETRY_EXISTS,
    Cancel,
    Change,
    Outcome,
    Remove,
    Resolve,
    Retry,
)
from everpost.task.cancel_rules import CancelAction, CancelDecision, decide_cancel
from everpost.task.candidate import LARGEST_LOCKED, Candidate
from everpost.task.model import HELD, TaskStatus
from everpost.task.place import Place, Position
from everpost.task.removal_rules import Removal, decide_removal
from everpost.task.resolution_rules import UNSAID, Decided, DecisionKind, Grounds, decide_resolution
from everpost.task.retry_rules import (
    RetryAction,
    RetryDecision,
    decide_newest_retry,
    decide_retry,
    decide_send_again,
)
from store_contract.making import accept, add_ended, attempt_of, end, record_of
from store_kit import StoreKit
from store_rows import START_MS, make_task, retry_as

NOW_MS = START_MS + 5_000
CALLERS = 6
WITHDRAWN = partial(decide_retry, withdrawn=True)
FORCED = partial(decide_retry, withdrawn=True, force=True)


def absent(task_id: str) -> Position:
    """The facts a rule gets about a task that only Redis has."""
    return Position(task_id=task_id, place=Place.HISTORY, status="failed", chain_id=task_id)


def retry_of(
    *pairs: tuple[str, str],
    rule: Callable[[Position, Sequence[Position]], RetryDecision] = WITHDRAWN,
    grounds: Grounds = UNSAID,
) -> Retry:
    """Retry tasks, each as a new one with the second id; of two ids for one task, the first counts."""
    new_tasks = {old: make_task(new, created_at_ms=NOW_MS) for old, new in reversed(pairs)}
    change = retry_as(new_tasks, rule, grounds=grounds)
    return replace(change, task_ids=[old for old, _ in pairs])


def cancel_of(*task_ids: str, **options: Any) -> Cancel:
    return Cancel(task_ids=task_ids, rule=partial(decide_cancel, **{"withdrawn": True} | options))


def remove_of(*task_ids: str, reason: Reason = Reason.DELETED) -> Remove:
    return Remove(task_ids=task_ids, reason=reason, rule=decide_removal)


def resolve_of(task_id: str, **fields: Any) -> Resolve:
    decided = Decided(
        task_id=task_id,
        decision=DecisionKind.SUCCEEDED,
        status_before="unknown",
        decided_at=to_text(NOW_MS),
        decided_by="mei",
        why="it is there",
        **fields,
    )
    return Resolve(decided=[decided], rule=decide_resolution)


async def apply(store: Store, change: Change) -> Outcome:
    """The outcome of a change of one task."""
    (outcome,) = await store.changes.apply(change, NOW_MS)
    return outcome


async def decisions_on(store: Store, task_id: str) -> list[Decided]:
    """The decisions on a task, and the one that made it."""
    found = await store.history.find_task(task_id)
    return list(found.decisions) if found else []


def state(kit: StoreKit) -> dict[str, tuple[Place, str]]:
    return {task.task_id: (task.place, task.status) for task in kit.tasks()}


async def test_tasks_are_found_where_they_are_with_their_chains_and_their_data(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "root", "old")
    await accept(store, "retry", retry_of="root", root_id="root", generation=1)
    await store.ledger.begin_send("retry", 1, START_MS)
    await store.changes.apply(remove_of("old"), NOW_MS)
    kit.add(Place.LEDGER, {"task_id": "inherited", "status": "pending", "data": '{"platform": 3}'})
    asked = ["retry", "old", "nowhere", "root", "inherited", "root"]
    found = await store.changes.find(asked, whole=True)
    assert [candidate.task_id for candidate in found] == asked
    positions = [candidate.position for candidate in found]
    assert positions[0] == Position(
        task_id="retry", place=Place.LEDGER, status="running", chain_id="root", generation=1, sending=True
    )
    assert positions[1] == Position(task_id="old", place=Place.ARCHIVE, status="failed", chain_id="old")
    assert positions[2] is None
    assert [relative.task_id for relative in found[0].relatives] == ["root"]
    assert [relative.task_id for relative in found[3].relatives] == ["retry"]
    assert (positions[4] or absent("")).inherited
    places = [candidate.data.place if candidate.data else None for candidate in found]
    assert places == [Place.LEDGER, Place.ARCHIVE, None, Place.HISTORY, Place.LEDGER, Place.HISTORY]
    briefly = await store.changes.find(asked, whole=False)
    assert [candidate.position for candidate in briefly] == positions
    assert {candidate.data for candidate in briefly} == {None}
    assert await store.changes.find([], whole=True) == []


async def test_of_rows_with_one_id_the_history_has_the_data_first_and_then_the_ledger(
    store: Store, kit: StoreKit
) -> None:
    row = {"task_id": "twice", "status": "failed"}
    kit.add(
        Place.LEDGER, {**row, "data": '{"from": "ledger"}'}, {**row, "task_id": "once", "data": '{"from": "ledger"}'}
    )
    kit.add(Place.HISTORY, {**row, "data": '{"from": "history"}'}, {**row, "task_id": "once", "data": "damaged"})
    found = await store.changes.find(["twice", "once"], whole=True)
    assert [candidate.position.place for candidate in found if candidate.position] == [Place.LEDGER] * 2
    assert [candidate.data.place for candidate in found if candidate.data] == [Place.HISTORY, Place.LEDGER]
    assert [len(candidate.relatives) for candidate in found] == [1, 1]  # the other row


async def test_missing_data_is_rebuilt_from_columns_if_possible(store: Store, kit: StoreKit) -> None:
    task = make_task("whole", priority=2)
    await add_ended(store, task)
    await store.ledger.end([record_of("raw", TaskStatus.FAILED, raw_job=b"\x80")])
    row = {"status": "failed", "title": "t"}
    kit.add(Place.HISTORY, {**row, "task_id": "columns", "platform": "3"}, {**row, "task_id": "nothing"})
    await accept(store, "damaged")
    kit.change(Place.LEDGER, "damaged", data='{"platform": 1,')
    found = await store.changes.find(["whole", "columns", "nothing", "raw", "damaged"], whole=True)
    whole, columns, nothing, raw, damaged = [candidate.data for candidate in found]
    assert whole is not None
    assert (whole.task_data, whole.priority, whole.is_rebuilt) == (task.task_data, 2, False)
    assert columns is not None
    assert (columns.is_rebuilt, b'"platform":3' in columns.task_data) == (True, True)
    assert nothing is None
    assert raw is not None
    assert (raw.task_data, raw.raw_job) == (b"", b"\x80")
    assert damaged is not None
    assert (damaged.place, damaged.is_rebuilt) == (Place.LEDGER, True)


async def test_a_task_that_moves_is_found_in_one_place(store: Store, other: Store) -> None:
    task_ids = [f"t{number:02}" for number in range(40)]
    await accept(store, *task_ids)

    async def end_and_remove() -> None:
        for task_id in task_ids:
            await end(other, task_id)
            await other.changes.apply(remove_of(task_id), NOW_MS)

    moving = asyncio.create_task(end_and_remove())
    while not moving.done():
        found = await store.changes.find(task_ids, whole=True)
        assert all(candidate.position is not None and candidate.data is not None for candidate in found)
    await moving


async def test_the_size_of_a_tasks_data_is_known_wherever_it_is(store: Store) -> None:
    tasks = {name: make_task(name, title="标题", note="x" * 5_000) for name in ("waiting", "ended", "archived")}
    await accept(store, *tasks.values())
    await end(store, "ended", "archived")
    await store.changes.apply(remove_of("archived"), NOW_MS)
    await store.ledger.end([record_of("raw", TaskStatus.FAILED, raw_job=b"\x80" * 70)])
    asked = [*tasks, "raw", "nowhere", "raw"]
    sizes = [*(len(task.task_data) for task in tasks.values()), 70, 0, 70]
    assert [candidate.size_bytes for candidate in await store.changes.find(asked, whole=True)] == sizes
    assert await store.history.sizes(asked) == sizes
    assert await store.history.sizes([]) == []


async def test_a_retry_is_a_new_task_at_the_end_of_the_chain(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "root")
    first = await apply(store, retry_of(("root", "one")))
    assert first.new_task is not None
    assert (first.new_task.retry_of, first.new_task.root_id, first.new_task.generation) == ("root", "root", 1)
    await end(store, "one")
    second = await apply(store, retry_of(("one", "two")))
    assert second.new_task is not None
    assert (second.new_task.retry_of, second.new_task.root_id, second.new_task.generation) == ("one", "root", 2)
    assert state(kit)["two"] == (Place.LEDGER, "pending")
    found = await store.history.find_task("two")
    assert found is not None
    assert (found.retry_of, found.root_id, found.generation) == ("one", "root", 2)


async def test_a_retry_of_a_chain_that_lives_is_answered_with_the_live_task(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "root")
    await apply(store, retry_of(("root", "live")))
    again = await apply(store, retry_of(("root", "twin"), rule=FORCED))
    assert (again.reason, again.other_task_id, again.new_task) == (RETRY_EXISTS, "live", None)
    assert "twin" not in state(kit)


async def test_a_waiting_task_makes_way_for_its_retry(store: Store, kit: StoreKit) -> None:
    await accept(store, "waiting")
    kit.add(Place.HISTORY, {"task_id": "left waiting", "status": "pending", "data": "{}"})
    outcomes = await store.changes.apply(retry_of(("waiting", "one"), ("left waiting", "two")), NOW_MS)
    assert [outcome.new_task.task_id for outcome in outcomes if outcome.new_task] == ["one", "two"]
    assert state(kit) == {
        "one": (Place.LEDGER, "pending"), "two": (Place.LEDGER, "pending"),
        "waiting": (Place.HISTORY, "cancelled"), "left waiting": (Place.HISTORY, "cancelled"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (TaskStatus.SUCCESS, "task_succeeded"),
        (TaskStatus.UNKNOWN, "outcome_unknown"),
    ],
)
async def test_a_retry_that_needs_force_is_refused_without_it_and_a_decision_with_it(
    store: Store, kit: StoreKit, status: TaskStatus, reason: str
) -> None:
    await add_ended(store, "task", status=status)
    refused = await apply(store, retry_of(("task", "new")))
    assert (refused.reason, refused.refusal is not None, refused.new_task) == (reason, True, None)
    assert list(state(kit)) == ["task"]
    assert await decisions_on(store, "task") == []
    forced = await apply(store, retry_of(("task", "new"), rule=FORCED, grounds=Grounds("mei", "it is not there")))
    assert forced.new_task is not None
    (decided,) = await decisions_on(store, "task")
    assert (decided.decision, decided.status_before, decided.new_task_id) == (DecisionKind.SEND_AGAIN, status, "new")
    assert (decided.decided_by, decided.why, decided.decided_at) == ("mei", "it is not there", to_text(NOW_MS))
    assert await decisions_on(store, "new") == [decided]
    unknown = status is TaskStatus.UNKNOWN
    assert state(kit)["task"][1] == ("cancelled" if unknown else "success")


async def test_a_running_or_held_task_is_not_retried(store: Store, kit: StoreKit) -> None:
    await accept(store, "sending", "held", "waiting")
    await store.ledger.begin_send("sending", 1, START_MS)
    kit.change(Place.LEDGER, "held", sending=HELD)
    before = state(kit)
    wanted = retry_of(("sending", "a"), ("held", "b"), ("waiting", "c"), rule=decide_retry)
    outcomes = await store.changes.apply(wanted, NOW_MS)
    assert [outcome.reason for outcome in outcomes] == ["task_running", "task_held", "task_running"]
    assert state(kit) == before


async def test_a_task_that_the_store_does_not_have_is_decided_about_as_the_caller_says(
    store: Store, kit: StoreKit
) -> None:
    outcome = await apply(store, retry_of(("only in redis", "new")))
    assert outcome.new_task is not None
    assert outcome.new_task.retry_of == "only in redis"
    assert list(state(kit)) == ["new"]


async def test_a_retrys_rule_gets_what_a_look_finds_without_large_data(store: Store) -> None:
    await accept(store, "waiting", make_task("large", note="x" * LARGEST_LOCKED))
    await add_ended(store, "ended", make_task("root", note="y" * LARGEST_LOCKED))
    await accept(store, "child", retry_of="root", root_id="root", generation=1)
    await store.ledger.end([record_of("raw", TaskStatus.FAILED, raw_job=b"\x80")])
    asked = ["waiting", "large", "ended", "root", "child", "raw", "nowhere"]
    seen: list[Candidate] = []

    def rule(task: Candidate) -> RetryDecision:
        seen.append(task)
        return RetryDecision(RetryAction.REFUSE)

    await store.changes.apply(Retry(asked, rule), NOW_MS)
    found = await store.changes.find(asked, whole=True)
    assert [task.task_id for task in found if task.size_bytes > LARGEST_LOCKED] == ["large", "root"]
    assert all(task.data for task in found[:-1])
    assert seen == [replace(task, data=None) if task.size_bytes > LARGEST_LOCKED else task for task in found]


async def test_a_task_that_only_redis_has_is_found_with_its_retries(store: Store) -> None:
    await accept(store, "retry", retry_of="only in redis", root_id="only in redis", generation=1)
    (found,) = await store.changes.find(["only in redis"], whole=True)
    assert (found.position, [relative.task_id for relative in found.relatives]) == (None, ["retry"])
    outcome = await apply(store, retry_of(("only in redis", "twin")))
    assert (outcome.reason, outcome.other_task_id) == (RETRY_EXISTS, "retry")


@pytest.mark.parametrize("action", [RetryAction.LOOK, RetryAction.WITHDRAW])
async def test_a_change_with_a_task_to_be_prepared_writes_nothing_and_names_it(
    store: Store, kit: StoreKit, action: RetryAction
) -> None:
    await add_ended(store, "a", "b", "c")
    before = state(kit)
    ready = retry_of(("a", "new a"), ("b", "new b"), ("c", "new c"))

    def rule(task: Candidate) -> RetryDecision:
        return RetryDecision(action) if task.task_id == "b" else ready.rule(task)

    outcomes = await store.changes.apply(replace(ready, rule=rule), NOW_MS)
    assert [outcome.undecided for outcome in outcomes] == await store.changes.find(["b"], whole=True)
    assert state(kit) == before


async def test_many_retries_in_one_change_are_decided_one_after_the_other(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "root", "other")
    await add_ended(store, "child", retry_of="root", root_id="root", generation=1)
    wanted = retry_of(("root", "a"), ("root", "b"), ("other", "c"), ("child", "d"))
    outcomes = await store.changes.apply(wanted, NOW_MS)
    assert [(outcome.reason, outcome.other_task_id) for outcome in outcomes] == [
        (None, None), (RETRY_EXISTS, "a"), (None, None), (RETRY_EXISTS, "a"),
    ]  # fmt: skip
    assert kit.find_chains_twice_alive() == []
    assert [outcome.new_task.generation for outcome in outcomes if outcome.new_task] == [2, 1]


async def test_of_a_chain_whose_retry_has_ended_a_filter_retries_the_newest(store: Store) -> None:
    await add_ended(store, "root")
    await add_ended(store, "child", retry_of="root", root_id="root", generation=1)
    rule = partial(decide_newest_retry, withdrawn=True)
    outcomes = await store.changes.apply(retry_of(("root", "a"), ("child", "b"), rule=rule), NOW_MS)
    assert [(outcome.reason, outcome.new_task is not None) for outcome in outcomes] == [
        (NOT_NEWEST, False), (None, True),
    ]  # fmt: skip


async def test_only_an_unknown_task_is_sent_again_by_decision(store: Store) -> None:
    await add_ended(store, "failed")
    await add_ended(store, "unknown", status=TaskStatus.UNKNOWN)
    rule = partial(decide_send_again, withdrawn=True)
    outcomes = await store.changes.apply(retry_of(("failed", "a"), ("unknown", "b"), rule=rule), NOW_MS)
    assert [outcome.reason for outcome in outcomes] == ["nothing_to_decide", None]
    assert [outcome.decided is not None for outcome in outcomes] == [False, True]


async def test_a_waiting_task_is_cancelled_and_others_are_refused(store: Store, kit: StoreKit) -> None:
    await accept(store, "waiting", "sending", "held", make_task("later", due_at_ms=NOW_MS + 9))
    await add_ended(store, "ended")
    await store.ledger.begin_send("sending", 1, START_MS)
    kit.change(Place.LEDGER, "held", sending=HELD)
    kit.add(Place.LEDGER, {"task_id": "inherited", "status": "pending", "data": "{}"})
    asked = ["waiting", "ended", "sending", "nowhere", "held", "later", "inherited"]
    outcomes = await store.changes.apply(cancel_of(*asked), NOW_MS)
    assert [outcome.task_id for outcome in outcomes] == asked
    assert [outcome.reason for outcome in outcomes] == [
        None, "task_ended", "task_running", "task_not_found", "task_held", None, None,
    ]  # fmt: skip
    assert {task_id for task_id, at in state(kit).items() if at == (Place.HISTORY, "cancelled")} == {
        "waiting", "later", "inherited",
    }  # fmt: skip
    found = await store.history.find_task("waiting")
    assert found is not None
    assert (found.completed_at, found.error_class) == (to_text(NOW_MS), "cancelled")
    again = await store.changes.apply(cancel_of("waiting"), NOW_MS)
    assert [outcome.reason for outcome in again] == ["task_ended"]


async def test_a_task_that_is_still_to_be_withdrawn_or_aborted_is_not_cancelled(store: Store, kit: StoreKit) -> None:
    await accept(store, "waiting", "sending")
    await store.ledger.begin_send("sending", 1, START_MS)
    before = state(kit)
    outcomes = await store.changes.apply(cancel_of("waiting", "sending", withdrawn=False, force=True), NOW_MS)
    assert [outcome.reason for outcome in outcomes] == ["task_running", "task_running"]
    assert state(kit) == before


async def test_a_removed_task_is_in_the_archive_with_its_reason(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "a", "b")
    await accept(store, "waiting")
    assert [outcome.reason for outcome in await store.changes.apply(remove_of("a", "waiting", "nowhere"), NOW_MS)] == [
        None, Removal.UNFINISHED, Removal.NOT_FOUND,
    ]  # fmt: skip
    assert (await apply(store, remove_of("b", reason=Reason.AGE))).reason is None
    assert (await apply(store, remove_of("b"))).reason == Removal.ARCHIVED_BEFORE
    assert state(kit) == {
        "waiting": (Place.LEDGER, "pending"), "a": (Place.ARCHIVE, "failed"), "b": (Place.ARCHIVE, "failed"),
    }  # fmt: skip
    found = [await store.history.find_task(task_id) for task_id in "ab"]
    assert [(task.archive_reason, task.archived_at) for task in found if task] == [
        ("deleted", to_text(NOW_MS)), ("age", to_text(NOW_MS)),
    ]  # fmt: skip


async def test_a_removal_of_an_id_that_stands_twice_takes_both_rows(store: Store, kit: StoreKit) -> None:
    kit.add(Place.LEDGER, {"task_id": "twice", "status": "failed", "data": "{}"})
    kit.add(Place.HISTORY, {"task_id": "twice", "status": "failed"})
    await store.changes.apply(remove_of("twice"), NOW_MS)
    assert [(task.task_id, task.place) for task in kit.tasks()] == [("twice", Place.ARCHIVE)] * 2


async def test_of_many_tasks_those_of_unknown_outcome_are_called_successes(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "a", "b", status=TaskStatus.UNKNOWN)
    await add_ended(store, "failed")
    await store.changes.apply(resolve_of("b"), NOW_MS)
    decided = [one for name in ("a", "failed", "b", "nowhere") for one in resolve_of(name).decided]
    outcomes = await store.changes.apply(Resolve(decided=decided, rule=decide_resolution), NOW_MS)
    assert [(one.task_id, one.reason) for one in outcomes] == [
        ("a", None), ("failed", "nothing_to_decide"), ("b", "already_decided"), ("nowhere", "task_not_found"),
    ]  # fmt: skip
    assert {task.task_id: task.status for task in kit.tasks()} == {"a": "success", "b": "success", "failed": "failed"}
    assert [len(await decisions_on(store, name)) for name in ("a", "failed", "b")] == [1, 0, 1]


async def test_an_unknown_task_is_called_a_success_once_and_the_decision_is_kept(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "task", "archived", status=TaskStatus.UNKNOWN)
    await store.changes.apply(remove_of("archived"), NOW_MS)
    for task_id in ("task", "archived"):
        change = resolve_of(task_id, provider_post_id="post", publish_url="https://example.test/p")
        resolved = await apply(store, change)
        assert (resolved.reason, resolved.decided) == (None, change.decided[0])
        found = await store.history.find_task(task_id)
        assert found is not None
        assert (found.status, found.provider_post_id, found.publish_url) == (
            TaskStatus.SUCCESS, "post", "https://example.test/p",
        )  # fmt: skip
        again = await apply(store, resolve_of(task_id))
        assert again.reason == "already_decided"
        assert await decisions_on(store, task_id) == change.decided


async def test_a_task_that_is_not_unknown_cannot_be_resolved(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "failed")
    await accept(store, "waiting")
    before = state(kit)
    reasons = [(await apply(store, resolve_of(task_id))).reason for task_id in ("failed", "waiting", "nowhere")]
    assert reasons == ["nothing_to_decide", "nothing_to_decide", "task_not_found"]
    assert state(kit) == before


async def test_a_change_of_no_tasks_has_no_outcomes(store: Store) -> None:
    for change in (retry_of(), cancel_of(), remove_of()):
        assert await store.changes.apply(change, NOW_MS) == []


async def test_a_change_whose_rule_fails_is_undone_and_fails_alone(store: Store, kit: StoreKit) -> None:
    await add_ended(store, "a", "b")
    before = state(kit)

    def rule(position: Position, relatives: Sequence[Position]) -> RetryDecision:
        if position.task_id == "b":
            raise ZeroDivisionError
        return decide_retry(position, relatives)

    failed, done = await asyncio.gather(
        store.changes.apply(retry_of(("a", "new a"), ("b", "new b"), rule=rule), NOW_MS),
        store.ledger.accept([make_task("beside")], START_MS),
        return_exceptions=True,
    )
    assert isinstance(failed, ZeroDivisionError)
    assert done is None
    assert state(kit) == {**before, "beside": (Place.LEDGER, "pending")}


async def test_of_many_retries_at_once_one_makes_a_task_and_all_are_told_which(
    store: Store, other: Store, kit: StoreKit
) -> None:
    await add_ended(store, "root")
    outcomes = await asyncio.gather(
        *(apply(each, retry_of(("root", f"new{number}"))) for number, each in enumerate((store, other) * CALLERS))
    )
    made = [outcome.new_task.task_id for outcome in outcomes if outcome.new_task]
    told = {outcome.other_task_id for outcome in outcomes if outcome.reason == RETRY_EXISTS}
    assert (len(made), told) == (1, set(made))
    assert sorted(state(kit)) == sorted(["root", *made])


async def test_of_retries_of_different_tasks_of_a_chain_one_makes_a_task(
    store: Store, other: Store, kit: StoreKit
) -> None:
    await add_ended(store, "root")
    await add_ended(store, "child", retry_of="root", root_id="root", generation=1)
    outcomes = await asyncio.gather(
        *(
            apply(each, retry_of((old, f"{old}{number}"), rule=FORCED))
            for number, (each, old) in enumerate(((store, "root"), (other, "child")) * CALLERS)
        )
    )
    assert sum(outcome.new_task is not None for outcome in outcomes) == 1
    assert kit.find_chains_twice_alive() == []


async def test_of_an_end_a_cancellation_and_a_retry_at_once_exactly_one_wins(
    store: Store, other: Store, kit: StoreKit
) -> None:
    won: set[str] = set()
    for number in range(24):
        task_id, new_id = f"t{number}", f"new{number}"
        await accept(store, task_id)
        each = [
            store.ledger.end([record_of(task_id, TaskStatus.SUCCESS)]),
            other.changes.apply(cancel_of(task_id), NOW_MS),
            store.changes.apply(retry_of((task_id, new_id)), NOW_MS),
        ]
        turn = number % 3
        answers: list[Any] = await asyncio.gather(*each[turn:], *each[:turn])
        late, (cancelled,), (retried,) = answers[3 - turn :] + answers[: 3 - turn]
        assert state(kit)[task_id] == (
            Place.HISTORY,
            "success",
        )  # a late success tells the truth about a cancelled task
        assert (new_id in state(kit)) == (retried.new_task is not None)
        if late == []:
            won.add("end")
            assert (cancelled.reason, retried.reason) == ("task_ended", "task_succeeded")
        elif cancelled.reason is None:
            won.add("cancel")
        else:
            won.add("retry")
            assert (cancelled.reason, retried.reason) == ("task_ended", None)
    assert kit.find_chains_twice_alive() == []
    assert len(won) > 1, "the race was none"


async def test_of_a_cancellation_and_an_intent_to_send_exactly_one_wins(store: Store, other: Store) -> None:
    for number in range(12):
        task_id = f"t{number}"
        await accept(store, task_id)
        outcome, begun = await asyncio.gather(
            apply(store, cancel_of(task_id)), other.ledger.begin_send(task_id, 1, START_MS)
        )
        assert (outcome.reason is None) != begun


async def test_of_a_retry_and_an_intent_to_send_exactly_one_wins(store: Store, other: Store) -> None:
    for number in range(12):
        task_id = f"t{number}"
        await accept(store, task_id)
        outcome, begun = await asyncio.gather(
            apply(store, retry_of((task_id, f"new{number}"))), other.ledger.begin_send(task_id, 1, START_MS)
        )
        assert (outcome.new_task is not None) != begun


async def test_a_task_that_is_removed_and_retried_at_once_is_archived_and_has_one_retry(
    store: Store, other: Store, kit: StoreKit
) -> None:
    for number in range(12):
        task_id, new_id = f"t{number}", f"new{number}"
        await add_ended(store, task_id)
        removed, retried = await asyncio.gather(
            apply(store, remove_of(task_id)), apply(other, retry_of((task_id, new_id)))
        )
        assert removed.reason is None
        assert retried.new_task is not None
        assert state(kit)[task_id][0] is Place.ARCHIVE
        assert state(kit)[new_id][0] is Place.LEDGER


async def test_of_many_decisions_about_a_task_one_counts(store: Store, other: Store, kit: StoreKit) -> None:
    for number in range(8):
        task_id = f"t{number}"
        await add_ended(store, task_id, status=TaskStatus.UNKNOWN)
        send_again = retry_of((task_id, f"new{number}"), rule=partial(decide_send_again, withdrawn=True))
        outcomes = await asyncio.gather(
            apply(store, resolve_of(task_id)), apply(other, send_again), apply(other, resolve_of(task_id))
        )
        assert sum(outcome.reason is None for outcome in outcomes) == 1
        assert len(await decisions_on(store, task_id)) == 1


async def test_the_rule_gets_the_facts_committed_until_then(store: Store, other: Store) -> None:
    await accept(store, "task")
    await store.ledger.defer("task", attempt_of(), NOW_MS, spent=True)
    seen: list[Position | None] = []

    def rule(task_id: str, position: Position | None) -> CancelDecision:
        seen.append(position)
        return decide_cancel(task_id, position)

    assert (await apply(other, Cancel(task_ids=["task"], rule=rule))).reason == "task_running"
    await end(store, "task")
    assert (await apply(other, Cancel(task_ids=["task"], rule=rule))).reason == "task_ended"
    assert [(position.place, position.status) for position in seen if position] == [
        (Place.LEDGER, "retry"), (Place.HISTORY, "failed"),
    ]  # fmt: skip


def test_the_actions_that_write_are_those_the_contract_names() -> None:
    assert {action.value for action in RetryAction} == {"retry", "look", "withdraw", "answer_live", "refuse"}
    assert {action.value for action in CancelAction} == {"cancel", "withdraw", "abort", "refuse"}
