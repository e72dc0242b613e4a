"""The search's part of the contract: it finds what a person typed, in any script, indexed or not."""

import json

import pytest

from everpost.errors import InvalidValue
from everpost.redaction import Redactor
from everpost.store import Store
from everpost.store.history import TaskFilter
from everpost.task.model import TaskStatus
from everpost.task.place import Place
from store_contract.conftest import Stores
from store_contract.making import accept, add_ended, end
from store_kit import StoreKit
from store_rows import START_MS, ids, make_task, remove

TEXTS = {
    "chinese": "今天的测试视频",
    "mixed": "第12集 iPhone15评测 vlog2026",
    "latin": "Crème Brûlée, the video-guide of St. John's",
    "emoji": "生日快乐🎂🎉 party",
    "quotes": """she said "AND" OR 'NEAR(' * ^ : - {text}""",
    "kana": "データベースの設計",
    "hangul": "안녕하세요 세계",
    "digits": "order 20260131 done",
    "rare": "𠮷野家",
}
FOUND = {
    "测": {"chinese", "mixed"},
    "测试": {"chinese"},
    "测视": set(),
    "试视": {"chinese"},
    "评测": {"mixed"},
    "12": {"mixed"},
    "第12集": {"mixed"},
    "iphone": {"mixed"},
    "IPHONE15": {"mixed"},
    "评测 vlog": {"mixed"},
    "vlog 评测": set(),
    "creme": {"latin"},
    "BRÛLÉE": {"latin"},
    "brul": {"latin"},
    "video-guide": {"latin"},
    "guide-video": set(),
    "rule": set(),
    "🎂": {"emoji"},
    "🎂🎉": {"emoji"},
    "快乐🎂": {"emoji"},
    '"AND"': {"quotes"},
    "OR": {"quotes"},
    "NEAR(": {"quotes"},
    "{text}": {"quotes"},
    '"': set(),
    "*": set(),
    "text:said": set(),
    "データ": {"kana"},
    "設計": {"kana"},
    "세계": {"hangul"},
    "하세": {"hangul"},
    "20260131": {"digits"},
    "2026": {"digits"},
    "2026 vlog": set(),
    "𠮷": {"rare"},
    "\0": set(),
    "测\0试": {"chinese"},
    "": set(),
    "   ": set(),
    "\uff49\uff50hone": {"mixed"},
}


async def found(store: Store, q: str, **others: object) -> set[str]:
    wanted = TaskFilter(q=q, **others)  # type: ignore[arg-type]  # a test's own fields
    items = (await store.history.page(wanted, limit=1_000)).items
    assert (await store.history.total(wanted)).total == len(items)
    return set(ids(items))


@pytest.mark.parametrize("where", ["ledger", "history", "index", "payload", "error"])
async def test_a_typed_query_is_found(store: Store, where: str) -> None:
    for name, text in TEXTS.items():
        fields = {"title": "x", "description": text if where == "payload" else ""}
        task = make_task(name, **fields if where in {"payload", "error"} else {"title": text})
        await accept(store, task)
        if where == "error":
            await end(store, name, error_message=text)
        elif where != "ledger":
            await end(store, name)
    if where == "index":
        assert await store.care.fill_search() == len(TEXTS)
    assert {q: await found(store, q) for q in FOUND} == FOUND


async def test_search_and_other_conditions_both_count(store: Store) -> None:
    await add_ended(store, make_task("a", account_id="1"), make_task("b", account_id="2"))
    await add_ended(store, make_task("c", account_id="1"), status=TaskStatus.SUCCESS)
    await store.care.fill_search()
    await accept(store, make_task("d", account_id="1"))
    assert await found(store, "视频", account_id="1") == {"a", "c", "d"}
    assert await found(store, "视频", status="failed") == {"a", "b"}
    assert await found(store, "视频", status="pending") == {"d"}
    assert await found(store, "视频", task_ids=("b", "d")) == {"b", "d"}
    assert await found(store, "视频", created_after_ms=START_MS + 1) == set()


async def test_damaged_payloads_are_searched_as_text(store: Store, kit: StoreKit) -> None:
    kit.add(
        Place.HISTORY,
        {"task_id": "cut", "created_at": "2025-01-01 08:00:00", "data": '{"title": "春节特辑'},
        {"task_id": "blob", "created_at": "2025-01-01 08:00:00", "data": b"\xff\xfe spring"},
        {"task_id": "list", "created_at": "2025-01-01 08:00:00", "data": json.dumps([["deep", {"x": "春"}]])},
    )
    for _ in range(2):
        assert await found(store, "春") == {"cut", "list"}
        assert await found(store, "spring") == {"blob"}
        await store.care.fill_search()


async def test_a_long_query_is_refused_and_a_shorter_one_is_served(store: Store) -> None:
    assert await found(store, "测" * 100) == set()
    with pytest.raises(InvalidValue) as refused:
        await store.history.page(TaskFilter(q="测" * 10_000))
    assert refused.value.path == "$.q"


async def test_an_archived_task_is_not_found(store: Store) -> None:
    await add_ended(store, "early", "kept", "gone")
    await remove(store, "early")
    await store.care.fill_search()
    await remove(store, "gone")
    assert await found(store, "测试") == {"kept"}


async def test_another_list_of_hidden_names_fills_the_index_anew(stores: Stores) -> None:
    open_to_all = await stores.open(redactor=Redactor.read("!*"))
    await add_ended(open_to_all, make_task("secretive", password="hunter22", title="plain"))
    await open_to_all.care.fill_search()
    assert await found(open_to_all, "hunter22") == {"secretive"}
    hiding = await stores.open()
    await hiding.care.fill_search()
    assert (await found(hiding, "hunter22"), await found(hiding, "plain")) == (set(), {"secretive"})
