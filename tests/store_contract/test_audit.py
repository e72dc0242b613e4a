"""The audit's part of the contract: entries are only added, found by what they say, and kept with the change."""

from typing import Any

import pytest
from msgspec.structs import replace

from everpost.access import AuditRow, How
from everpost.clock import to_text
from everpost.store import Store
from everpost.store import audit as port
from everpost.store.audit import AuditFilter
from everpost.store.changes import Cancel, Retry
from everpost.task.model import first_id_of
from everpost.task.place import Place
from store_contract.making import accept, add_ended
from store_contract.test_changes import cancel_of, retry_of
from store_kit import StoreKit
from store_rows import START_MS

ALL = AuditFilter()


def entry_of(number: int = 0, **fields: Any) -> AuditRow:
    at_ms = START_MS + number * 1_000
    named = {"audit_id": first_id_of(at_ms), "at": to_text(at_ms), "who": "mei", "role": "operator"}
    return AuditRow(**{"action": "cancel_task", "how": How.API, "target": f"t{number}", **named, **fields})


async def targets(store: Store, **wanted: Any) -> list[str | None]:
    page = await store.audit.page(AuditFilter(**wanted), None, 100)
    return [row.target for row in page.rows]


async def test_an_entry_is_kept_whole(store: Store, other: Store) -> None:
    whole = entry_of(
        who="测试 😀",
        key_id="a key",
        how=How.CONSOLE,
        address="::1",
        why="因为",
        details={"force": True, "filter": {"q": "测试"}, "task_ids": ["a", "b"]},
        outcome="forbidden",
    )
    await store.audit.add(whole)
    assert (await other.audit.page(ALL, None, 10)).rows == [whole]


async def test_entries_are_found_by_what_they_say(store: Store) -> None:
    await store.audit.add(entry_of(0))
    await store.audit.add(entry_of(1, who="li", how=How.COMMAND))
    await store.audit.add(entry_of(2, action="retry_task", outcome="write_unconfirmed"))
    await store.audit.add(entry_of(3, target="t0"))
    assert await targets(store) == ["t0", "t2", "t1", "t0"]
    assert await targets(store, who="li") == ["t1"]
    assert await targets(store, how=How.COMMAND) == ["t1"]
    assert await targets(store, action="retry_task") == ["t2"]
    assert await targets(store, outcome="ok") == ["t0", "t1", "t0"]
    assert await targets(store, target="t0") == ["t0", "t0"]
    assert await targets(store, target="t0", after=to_text(START_MS + 1)) == ["t0"]
    assert await targets(store, after=to_text(START_MS + 1_000), before=to_text(START_MS + 3_000)) == ["t2", "t1"]
    assert await targets(store, who="mei'; --") == []


async def test_pages_follow_each_other(store: Store) -> None:
    for number in range(5):
        await store.audit.add(entry_of(number))
    seen, following = [], None
    while True:
        page = await store.audit.page(ALL, following, 2)
        seen += [row.target for row in page.rows]
        following = page.following
        if following is None:
            break
    assert seen == ["t4", "t3", "t2", "t1", "t0"]


async def test_a_page_looks_at_so_many_entries_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "MOST_SCANNED", 2)
    for number in range(5):
        await store.audit.add(entry_of(number, who="li" if number == 0 else "mei"))
    first = await store.audit.page(AuditFilter(who="li"), None, 10)
    assert first.rows == []
    second = await store.audit.page(AuditFilter(who="li"), first.following, 10)
    third = await store.audit.page(AuditFilter(who="li"), second.following, 10)
    assert [row.target for row in third.rows] == ["t0"]
    assert third.following is None


async def test_only_a_purge_destroys_entries_and_only_old_ones(store: Store) -> None:
    for number in range(4):
        await store.audit.add(entry_of(number))
    assert await store.audit.purge(to_text(START_MS + 2_000), 1) == 1
    assert await targets(store) == ["t3", "t2", "t1"]
    assert await store.audit.purge(to_text(START_MS + 2_000), 10) == 1
    assert await store.audit.purge(to_text(START_MS + 2_000), 10) == 0
    assert await targets(store) == ["t3", "t2"]


async def test_an_entry_is_kept_with_its_change_or_not_at_all(store: Store, other: Store) -> None:
    await add_ended(store, "failed")
    await accept(store, "waits")
    retry, cancel = retry_of(("failed", "new")), cancel_of("waits")
    changes: tuple[Retry | Cancel, ...] = (retry, retry, cancel, cancel)  # repeated, each finds that it is done
    for number, change in enumerate(changes):
        await store.changes.apply(replace(change, entry=entry_of(number)), START_MS)
    rows = (await other.audit.page(ALL, None, 10)).rows
    assert [row.target for row in rows] == ["t2", "t0"]
    assert rows[1].details == {"new_task_id": "new"}


async def test_a_change_whose_entry_cannot_be_kept_is_not_made(store: Store, kit: StoreKit) -> None:
    await store.audit.add(entry_of())
    await accept(store, "waits")
    with pytest.raises(Exception):  # noqa: B017, PT011 - each store has its own for an id that is there already
        await store.changes.apply(replace(cancel_of("waits"), entry=entry_of()), START_MS)
    assert kit.count(Place.LEDGER) == 1


async def test_no_program_changes_or_removes_entries(store: Store, kit: StoreKit) -> None:
    await store.audit.add(entry_of())
    for attack in (kit.rewrite_audit, kit.empty_audit):
        with pytest.raises(Exception, match="rows are only added"):
            attack()
    assert await targets(store) == ["t0"]
