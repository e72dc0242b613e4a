"""The edits' part of the contract: a waiting task gets a new version in one transaction, and what changed is kept."""

import asyncio
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from everpost.clock import to_text
from everpost.pace import Pace
from everpost.store import Store
from everpost.store.changes import Cancel, Edit, Outcome
from everpost.task.cancel_rules import decide_cancel
from everpost.task.edit_rules import Edited, decide_edit
from everpost.task.model import BytesSent, Evidence, SendPhase
from everpost.task.place import Place
from store_contract.making import accept, add_ended, attempt_of, facts_of
from store_kit import StoreKit
from store_rows import START_MS, make_task, remove

NOW_MS = START_MS + 5_000
DUE_MS = NOW_MS + 3_600_000


def version_of(task_id: str, before: bytes | None = None, **changed: Any) -> Edited:
    """A new version of a task that `make_task` made."""
    fields: dict[str, Any] = {
        "task_data": b'{"platform":"douyin","account_id":"b","title":"new"}',
        "before_data": make_task(task_id).task_data if before is None else before,
        "before_priority": 5,
        "platform": "douyin",
        "account_id": "b",
        "title": "new",
        "priority": 1,
        "patch": b'{"title":"new"}',
        "former": '{"title":"测试视频"}'.encode(),
        "edited_by": "mei",
        "why": "a better title",
    }
    return Edited(task_id=task_id, **fields | changed)


def edit_of(*versions: Edited, claims: int | None = 0) -> Edit:
    return Edit({one.task_id: one for one in versions}, partial(decide_edit, claims=claims))


async def edit(store: Store, version: Edited, claims: int | None = 0) -> Outcome:
    (outcome,) = await store.changes.apply(edit_of(version, claims=claims), NOW_MS)
    return outcome


async def test_a_waiting_task_gets_its_new_version_and_the_edit_is_kept(store: Store, kit: StoreKit) -> None:
    await accept(store, "t")
    version = version_of("t", is_rescheduled=True, due_at_ms=DUE_MS, has_new_limit=True, late_at_ms=DUE_MS + 1)
    outcome = await edit(store, version)
    assert (outcome.reason, outcome.edited) == (None, version)
    found = await store.history.find_task("t")
    assert found is not None
    assert (found.title, found.account_id, found.priority, found.status) == ("new", "b", 1, "scheduled")
    assert (found.due_at, found.late_at) == (to_text(DUE_MS), to_text(DUE_MS + 1))
    assert (found.task_data or {})["title"] == msgspec.Raw(b'"new"')
    (kept,) = found.edits
    assert (kept.edited_at, kept.edited_by, kept.why) == (to_text(NOW_MS), "mei", "a better title")
    assert (bytes(kept.patch), bytes(kept.before)) == (version.patch, version.former)
    assert kit.columns(Place.LEDGER, "t", "data") == (version.task_data.decode(),)
    (runnable,) = (await store.relay.runnable(["t"])).tasks
    assert (runnable.task_data, runnable.priority, runnable.due_at_ms) == (version.task_data, 1, DUE_MS)
    assert (await facts_of(store, "t")).due_at == to_text(DUE_MS)
    assert kit.find_faults() == []


async def test_an_edit_that_names_no_time_changes_none(store: Store, kit: StoreKit) -> None:
    await accept(store, make_task("t", due_at_ms=DUE_MS, late_at_ms=DUE_MS + 9))
    await edit(store, version_of("t"))
    assert kit.columns(Place.LEDGER, "t", "status", "due_at", "late_at") == (
        "scheduled", to_text(DUE_MS), to_text(DUE_MS + 9),
    )  # fmt: skip
    now = version_of("t", version_of("t").task_data, before_priority=1, is_rescheduled=True, has_new_limit=True)
    await edit(store, now)
    assert kit.columns(Place.LEDGER, "t", "status", "due_at", "late_at") == ("pending", None, None)


async def test_what_an_attempt_saved_is_dropped_with_the_content_it_was_saved_for(store: Store) -> None:
    await accept(store, "t")
    assert await store.ledger.save_checkpoint("t", 1, '"session"', START_MS)
    await store.ledger.defer("t", attempt_of(1), DUE_MS, spent=True)
    await edit(store, version_of("t"), claims=1)
    assert (await facts_of(store, "t")).checkpoint == '"session"'
    await edit(store, version_of("t", version_of("t").task_data, before_priority=1, is_rewritten=True), claims=1)
    assert (await facts_of(store, "t")).checkpoint is None


async def test_edits_are_shown_the_oldest_first_and_wherever_the_task_is(store: Store) -> None:
    await accept(store, "t")
    await edit(store, version_of("t", why="first"))
    await edit(store, version_of("t", version_of("t").task_data, before_priority=1, why="second"))
    for place in Place:
        found = await store.history.find_task("t")
        assert found is not None
        assert (found.place, [kept.why for kept in found.edits]) == (place, ["first", "second"])
        await store.changes.apply(Cancel(["t"], partial(decide_cancel, withdrawn=True)), NOW_MS)
        if place is Place.HISTORY:
            await remove(store, "t")


async def test_a_task_that_cannot_be_edited_stays_as_it_is(store: Store, kit: StoreKit) -> None:
    await accept(store, "waits", "sends", "has_run", "other")
    await add_ended(store, "ended")
    await store.ledger.begin_send("sends", 1, START_MS)
    evidence = Evidence(phase=SendPhase.SENDING, bytes_sent=BytesSent.NOT_KNOWN)
    await store.ledger.defer("has_run", attempt_of(1, evidence=evidence), DUE_MS, spent=True)
    kit.add(Place.LEDGER, {"task_id": "inherited", "status": "pending", "data": '{"platform": 3}'})
    before = {task.task_id: (task.data, task.status) for task in kit.tasks()}
    changed = replace(version_of("other"), before_data=b"{}")
    versions = [version_of(task_id) for task_id in ("sends", "has_run", "ended", "inherited", "nowhere", "a\0b")]
    outcomes = await store.changes.apply(edit_of(*versions, changed, claims=1), NOW_MS)
    assert {outcome.task_id: outcome.reason for outcome in outcomes} == {
        "sends": "task_running",
        "has_run": "attempt_open",
        "ended": "task_ended",
        "inherited": "conflict",
        "nowhere": "task_not_found",
        "a\0b": "task_not_found",
        "other": "task_running",  # a claim was counted, and no attempt is on record
    }
    assert (await edit(store, changed)).reason == "task_changing"
    assert (await edit(store, version_of("waits"), claims=None)).reason == "task_running"  # it is still to be withdrawn
    assert {task.task_id: (task.data, task.status) for task in kit.tasks()} == before
    assert await store.changes.apply(edit_of(), NOW_MS, Pace(10)) == []


async def test_of_simultaneous_edits_of_one_version_one_counts(store: Store, other: Store) -> None:
    await accept(store, "t")
    versions = [version_of("t", title=f"title {number}", task_data=b'{"n":%d}' % number) for number in range(6)]
    stores = [store, other] * 3
    outcomes = await asyncio.gather(*(edit(one, version) for one, version in zip(stores, versions, strict=True)))
    winners = [outcome.edited for outcome in outcomes if outcome.reason is None]
    assert [outcome.reason for outcome in outcomes].count("task_changing") == 5
    found = await store.history.find_task("t")
    assert found is not None
    assert [found.title] == [winner.title for winner in winners if winner]
    assert len(found.edits) == 1


async def test_destroying_a_task_destroys_its_edits(store: Store) -> None:
    await accept(store, "t", "stays")
    for task_id in ("t", "stays"):
        await edit(store, version_of(task_id))
    await store.changes.apply(Cancel(["t"], partial(decide_cancel, withdrawn=True)), NOW_MS)
    await remove(store, "t")
    async for _ in store.archive.purge(NOW_MS + 10_000, Pace(10)):
        pass
    assert await store.history.find_task("t") is None
    await accept(store, make_task("t"))  # an id that comes again has no edits of its own
    again, stays = await store.history.find_task("t"), await store.history.find_task("stays")
    assert (len(again.edits), len(stays.edits)) == (0, 1) if again and stays else None
