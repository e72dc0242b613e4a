"""The keys' part of the contract: API keys, one valid one a name, and sessions."""

import asyncio
from typing import Any

import msgspec

from everpost.access import KeyRate, KeyRecord, KeyScope, Role, SessionRecord
from everpost.store import Store
from everpost.store.keys import VERSION

EARLY, NOW, LATER, LATEST = (f"2026-11-2{day}T10:00:00.000Z" for day in range(1, 5))


def key_of(key_id: str = "a", **fields: Any) -> KeyRecord:
    named = {"name": "shop", "role": Role.PUBLISHER, "prefix": f"evp_{key_id}", "digest": f"digest of {key_id}"}
    return KeyRecord(**{"key_id": key_id, "created_at": NOW, "created_by": "ops", **named, **fields})


def session_of(digest: str, **fields: Any) -> SessionRecord:
    named = {"key_id": "a", "name": "shop", "role": Role.PUBLISHER}
    return SessionRecord(
        **{"digest": digest, "created_at": NOW, "expires_at": LATER, "seen_at": NOW, **named, **fields}
    )


async def test_a_key_is_kept_whole(store: Store, other: Store) -> None:
    whole = key_of(
        name="测试 😀",
        scope=KeyScope(("douyin",), (("bilibili", "测试/a"),)),
        rate=KeyRate(count=3, per_s=0.5),
        expires_at=LATER,
    )
    assert await store.keys.add(whole) == whole
    assert await other.keys.all() == [whole]
    plain = key_of("b")
    assert await other.keys.add(plain) == plain
    assert await store.keys.all() == [plain, whole]


async def test_each_change_gives_the_keys_another_version(store: Store, other: Store) -> None:
    seen = {await store.meta.get(VERSION)}
    await store.keys.add(key_of())
    seen.add(await other.meta.get(VERSION))
    await store.keys.add(key_of("b"), replaces="a", until=LATER)
    seen.add(await other.meta.get(VERSION))
    await store.keys.revoke("b", NOW, "ops")
    seen.add(await other.meta.get(VERSION))
    assert len(seen) == 4
    await store.keys.note_used(["a"], NOW)
    assert await store.meta.get(VERSION) in seen


async def test_of_valid_keys_only_one_has_a_name(store: Store, other: Store) -> None:
    answers = await asyncio.gather(*(each.keys.add(key_of(f"{n}")) for n, each in enumerate((store, other) * 5)))
    (made,) = [answer for answer in answers if answer is not None]
    assert await store.keys.all() == [made]
    await store.keys.revoke(made.key_id, NOW, "ops")
    assert await store.keys.add(key_of("x", expires_at=LATER)) is not None
    assert await store.keys.add(key_of("y", created_at=EARLY)) is None
    assert await store.keys.add(key_of("y", created_at=LATER)) is not None


async def test_a_key_in_place_of_another_lets_it_expire(store: Store) -> None:
    await store.keys.add(key_of())
    assert await store.keys.add(key_of("b"), replaces="a", until=LATER) is not None
    ends = {key.key_id: key.expires_at for key in await store.keys.all()}
    assert ends == {"a": LATER, "b": None}
    assert await store.keys.add(key_of("c"), replaces="none", until=LATER) is None
    assert await store.keys.add(key_of("c"), replaces="b", until=LATER) is not None  # a and b have the name as well
    await store.keys.revoke("b", NOW, "ops")
    assert await store.keys.add(key_of("d"), replaces="b", until=LATER) is None


async def test_a_replaced_key_does_not_live_longer(store: Store) -> None:
    await store.keys.add(key_of(expires_at=LATER))
    await store.keys.add(key_of("b"), replaces="a", until=LATEST)
    assert {key.key_id: key.expires_at for key in await store.keys.all()} == {"a": LATER, "b": None}


async def test_a_key_is_revoked_once_and_its_sessions_end(store: Store, other: Store) -> None:
    await store.keys.add(key_of())
    await store.keys.begin_session(session_of("one"))
    await store.keys.begin_session(session_of("two", key_id="b"))
    revoked = await other.keys.revoke("a", LATER, "mei")
    assert revoked == msgspec.structs.replace(key_of(), revoked_at=LATER, revoked_by="mei")
    assert await store.keys.find_session("one") is None
    assert await store.keys.find_session("two") is not None
    assert await store.keys.revoke("a", LATEST, "li") == revoked
    assert await store.keys.revoke("none", LATEST, "li") is None


async def test_the_last_use_of_keys_is_noted(store: Store, other: Store) -> None:
    await store.keys.add(key_of())
    await store.keys.add(key_of("b", name="b"))
    await store.keys.note_used(["a", "none"], LATER)
    assert {key.key_id: key.last_used_at for key in await other.keys.all()} == {"a": LATER, "b": None}


async def test_a_session_is_kept_until_it_ends(store: Store, other: Store) -> None:
    begun = session_of("one", key_id=None, name="测试", role=Role.ADMIN)
    await store.keys.begin_session(begun)
    assert await other.keys.find_session("one") == begun
    await other.keys.note_session("one", LATER)
    assert await store.keys.find_session("one") == msgspec.structs.replace(begun, seen_at=LATER)
    await store.keys.end_session("one")
    assert await other.keys.find_session("one") is None


async def test_expired_sessions_go_when_another_begins(store: Store) -> None:
    await store.keys.begin_session(session_of("old"))
    await store.keys.begin_session(session_of("new", created_at=LATER, expires_at=LATEST))
    assert await store.keys.find_session("old") is None
    assert await store.keys.find_session("new") is not None
