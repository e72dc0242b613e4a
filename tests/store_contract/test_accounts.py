"""The accounts' part of the contract: one row an account, changed by rules under the store's lock."""

import asyncio

import msgspec
import pytest

from everpost.clock import to_text
from everpost.store import Store
from everpost.store.account_directory import AccountDirectory
from everpost.store.accounts import VERSION
from everpost.task.account_rules import (
    AccountRecord,
    AccountStatus,
    AccountTest,
    after_failure,
    locked,
    put_on,
    unlocked,
    with_test,
    with_tokens,
)
from store_rows import START_MS, accept, make_task

ODD = "测试 😀 \"'\\ é"
LOCK_MS = 15_000


def account_of(account_id: str = "a", platform: str = "douyin") -> AccountRecord:
    return AccountRecord(platform=platform, account_id=account_id)


async def added(store: Store, account_id: str = "a", platform: str = "douyin") -> AccountRecord:
    account = await store.accounts.add(account_of(account_id, platform), START_MS)
    assert account is not None
    return account


async def test_an_account_is_kept_whole_and_registered_once(store: Store, other: Store) -> None:
    wanted = AccountRecord(
        platform="douyin",
        account_id=ODD,
        title=ODD,
        options={"host": ODD, "deep": [{"a": None}]},
        credentials={"token": "env:EVERPOST_ACCOUNT_X"},
        timezone="Asia/Shanghai",
    )
    assert await other.accounts.find("douyin", ODD) is None
    added = await store.accounts.add(wanted, START_MS)
    assert await other.accounts.find("douyin", ODD) == added
    assert added is not None
    assert added.created_at == added.updated_at == to_text(START_MS)
    assert (added.options, added.credentials, added.status) == (wanted.options, wanted.credentials, "active")
    assert await other.accounts.add(account_of(ODD), START_MS) is None
    assert await other.accounts.find("douyin", ODD) == added


async def test_a_claim_tells_the_version_of_the_accounts_that_its_tasks_may_name(store: Store, other: Store) -> None:
    await accept(store, make_task("early"))
    assert (await store.ledger.check_claims({"early": None})).accounts_version is None
    await added(other)
    await accept(other, make_task("late"))
    version = await other.meta.get(VERSION)
    assert version is not None
    assert (await store.ledger.check_claims({"late": None, "early": None})).accounts_version == version
    await added(other, "b")
    adopted = await store.ledger.adopt([make_task("stray")], START_MS)
    assert adopted.accounts_version == await other.meta.get(VERSION) != version


async def test_of_many_who_register_one_account_at_once_one_does(store: Store, other: Store) -> None:
    answers = await asyncio.gather(*(each.accounts.add(account_of(), START_MS) for each in (store, other) * 5))
    assert sum(answer is not None for answer in answers) == 1


async def test_accounts_are_listed_page_by_page_in_order(store: Store) -> None:
    for platform, account_id in (("x", "b"), ("a", "z"), ("x", "a"), ("m", ODD)):
        await added(store, account_id, platform)
    await store.accounts.change("x", "a", put_on(AccountStatus.PAUSED, None, START_MS), START_MS)
    keys = []
    after = None
    while page := await store.accounts.page(after, 2):
        keys += [account.key for account in page]
        after = page[-1].key
    assert keys == [("a", "z"), ("m", ODD), ("x", "a"), ("x", "b")]
    assert [one.key for one in await store.accounts.page(None, 9, platform="x")] == [("x", "a"), ("x", "b")]
    paused = await store.accounts.page(None, 9, status=AccountStatus.PAUSED)
    assert [one.key for one in paused] == [("x", "a")]
    assert await store.accounts.page(None, 9, platform="m", status=AccountStatus.PAUSED) == []


async def test_a_rule_changes_an_account_and_what_it_leaves_stays(store: Store, other: Store) -> None:
    before = await added(store)
    changed, is_changed = await store.accounts.change(
        *before.key, put_on(AccountStatus.HELD, f"a\0{ODD}", START_MS + 5), START_MS + 5
    )
    assert is_changed
    assert changed is not None
    assert changed == await other.accounts.find(*before.key)
    assert (changed.status, changed.reason, changed.revision) == ("held", f"a\ufffd{ODD}", 1)
    assert (changed.created_at, changed.updated_at) == (before.created_at, to_text(START_MS + 5))
    assert await other.accounts.change(*before.key, lambda _: None, START_MS + 9) == (changed, False)
    assert await store.accounts.change("douyin", "nobody", lambda account: account, START_MS) == (None, False)


async def test_changes_of_one_account_at_once_are_made_one_after_the_other(store: Store, other: Store) -> None:
    account = await added(store)

    def more(before: AccountRecord) -> AccountRecord:
        return msgspec.structs.replace(before, revision=before.revision + 1)

    changes = [each.accounts.change(*account.key, more, START_MS) for each in (store, other) * 10]
    await asyncio.gather(*changes)
    found = await store.accounts.find(*account.key)
    assert found is not None
    assert found.revision == 20


async def test_a_status_holds_and_frees_the_account_s_lane_with_it(store: Store, other: Store) -> None:
    account = await added(store)
    lane = "douyin/a"
    version = await other.limits.version()
    for number, (status, kind) in enumerate(((AccountStatus.PAUSED, "paused"), (AccountStatus.HELD, "held")), 1):
        await store.accounts.change(*account.key, put_on(status, "why", START_MS + number), START_MS + number)
        hold = (await other.limits.find_state(lane)).hold
        assert hold is not None
        assert (hold.kind, hold.reason, hold.since) == (kind, "why", to_text(START_MS + number))
        assert await other.limits.version() == version + number
    for status in (AccountStatus.BLOCKED, AccountStatus.HELD, AccountStatus.ACTIVE):
        await store.accounts.change(*account.key, put_on(status, "why", START_MS), START_MS)
        assert ((await other.limits.find_state(lane)).hold is None) == (status is not AccountStatus.HELD)
    await store.accounts.change(*account.key, put_on(AccountStatus.PAUSED, "why", START_MS), START_MS)
    await store.accounts.remove(*account.key, START_MS)
    assert (await other.limits.find_state(lane)).hold is None


async def test_a_removed_account_is_gone(store: Store, other: Store) -> None:
    account = await added(store)
    assert await other.accounts.remove(*account.key, START_MS) == account
    assert await store.accounts.find(*account.key) is None
    assert await store.accounts.remove(*account.key, START_MS) is None


async def test_one_holder_at_a_time_has_the_lock_until_it_ends(store: Store, other: Store) -> None:
    account = await added(store)

    async def take(which: Store, holder: str, now_ms: int) -> bool:
        rule = locked(holder, now_ms + LOCK_MS, now_ms)
        return (await which.accounts.change(*account.key, rule, now_ms))[1]

    holders = [(store, "a"), (other, "b"), (store, "c"), (other, "d")]
    taken = await asyncio.gather(*(take(which, holder, START_MS) for which, holder in holders))
    assert sum(taken) == 1
    holder = holders[taken.index(True)][1]
    assert await take(other, holder, START_MS + 1)  # renewed
    assert not await take(other, "e", START_MS + LOCK_MS)
    assert await take(other, "e", START_MS + LOCK_MS + 1)  # its holder has died
    assert not (await store.accounts.change(*account.key, with_tokens("t", holder, START_MS), START_MS))[1]
    assert (await store.accounts.change(*account.key, with_tokens("t", "e", START_MS), START_MS))[1]
    await store.accounts.change(*account.key, unlocked("e"), START_MS)
    assert await take(store, "f", START_MS + LOCK_MS + 2)
    found = await other.accounts.find(*account.key)
    assert found is not None
    assert (found.tokens, found.tokens_at) == ("t", to_text(START_MS))


async def test_a_failure_from_before_a_person_s_change_holds_nothing(store: Store) -> None:
    account = await added(store)
    await store.accounts.change(*account.key, put_on(AccountStatus.PAUSED, None, START_MS), START_MS)
    await store.accounts.change(*account.key, put_on(AccountStatus.ACTIVE, None, START_MS), START_MS)
    stale = after_failure(AccountStatus.HELD, "refused", account.revision, START_MS)
    assert not (await store.accounts.change(*account.key, stale, START_MS))[1]
    fresh = after_failure(AccountStatus.HELD, "refused", 2, START_MS)
    assert (await store.accounts.change(*account.key, fresh, START_MS))[1]


async def test_a_directory_learns_of_what_concerns_it_and_of_nothing_else(store: Store, other: Store) -> None:
    directory = AccountDirectory(other)
    assert not await directory.refresh()
    account = await added(store)
    assert await directory.refresh()
    assert not await directory.refresh()
    version = await store.meta.get(VERSION)
    await store.accounts.change(*account.key, locked("a", START_MS + LOCK_MS, START_MS), START_MS)
    assert await store.meta.get(VERSION) == version
    test = AccountTest(test_id="t", requested_at=to_text(START_MS))
    await store.accounts.change(*account.key, with_test(test), START_MS)
    await store.accounts.change(*account.key, put_on(AccountStatus.PAUSED, "why", START_MS), START_MS)
    assert await directory.refresh()
    (asked,) = directory.asked()
    assert (asked.asked_test, asked.status, asked.reason) == ("t", "paused", "why")
    assert directory.find(*account.key) == asked
    assert [one.account_id for one in await store.accounts.standings()] == ["a"]
    await store.accounts.remove(*account.key, START_MS)
    assert await directory.refresh()
    assert directory.find(*account.key) is None


@pytest.mark.parametrize("account_id", ["", "nobody", "\0"])
async def test_an_impossible_account_id_finds_no_account(store: Store, account_id: str) -> None:
    assert await store.accounts.find("douyin", account_id) is None
