"""Search finds what a person typed, in any script, also in rows that are not indexed yet."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost import pace
from everpost.errors import InvalidValue
from everpost.store.history import TaskFilter
from everpost.store.sqlite.care.care import SqliteCare
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.lists import search, words
from everpost.store.sqlite.lists.history import SqliteHistory
from everpost.store.sqlite.lists.words import MAX_QUERY_CHARACTERS, cut, read_query, texts_in, words_of
from everpost.task.model import TaskStatus
from sqlite.rows import accept, add_ended, insert, remove, select
from store_rows import START_MS, ids, make_task

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


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "everpost.db")
    yield database
    await database.close()


async def found(database: Database, q: str, **others: object) -> set[str]:
    listing = SqliteHistory(database, UTC)
    wanted = TaskFilter(q=q, **others)  # type: ignore[arg-type]  # a test's own fields
    items = (await listing.page(wanted, limit=1_000)).items
    assert (await listing.total(wanted)).total == len(items)
    return set(ids(items))


@pytest.mark.parametrize("where", ["ledger", "history", "index", "payload", "error", "many"])
async def test_a_typed_query_is_found(database: Database, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "many":
        monkeypatch.setattr(search, "FEW", 0)
    for name, text in TEXTS.items():
        fields = {"title": "x", "description": text if where == "payload" else ""}
        task = make_task(name, **fields if where in {"payload", "error"} else {"title": text})
        if where == "ledger":
            await accept(database, task)
        elif where == "error":
            await add_ended(database, task, error_message=text)
        else:
            await add_ended(database, task)
    if where in {"index", "many"}:
        assert await SqliteCare(database).fill_search() == len(TEXTS)
    assert {q: await found(database, q) for q in FOUND} == FOUND


async def test_search_and_other_conditions_both_count(database: Database) -> None:
    await add_ended(database, make_task("a", account_id="1"), make_task("b", account_id="2"))
    await add_ended(database, make_task("c", account_id="1"), status=TaskStatus.SUCCESS)
    await SqliteCare(database).fill_search()
    await accept(database, make_task("d", account_id="1"))
    assert await found(database, "视频", account_id="1") == {"a", "c", "d"}
    assert await found(database, "视频", status="failed") == {"a", "b"}
    assert await found(database, "视频", status="pending") == {"d"}
    assert await found(database, "视频", task_ids=("b", "d")) == {"b", "d"}
    assert await found(database, "视频", created_after_ms=START_MS + 1) == set()


async def test_the_index_is_filled_once_by_however_many_processes(database: Database, tmp_path: Path) -> None:
    await add_ended(database, *(make_task(f"{number}") for number in range(7)))
    other = await Database.open(tmp_path / "everpost.db")
    first, second = SqliteCare(database), SqliteCare(other)
    after, documents = await first._next(3)
    assert await second.fill_search(5) == 5
    assert not await first._add(after, documents)
    assert await first.fill_search(100) == 2
    assert await first.fill_search(100) == 0
    assert await select(database, "SELECT count(*) FROM publish_tasks_search") == [(7,)]
    await other.close()


async def test_few_long_texts_are_indexed_in_one_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """250 of them kept everybody else from writing for seconds."""
    await add_ended(database, *(make_task(f"{number}", description="word " * 4_000) for number in range(60)))
    monkeypatch.setattr(pace, "STEP_S", 0)  # every step is too long
    sizes: list[int] = []
    index = SqliteCare(database)
    add = index._add

    async def note(after: int, documents: Sequence[tuple[int, str]]) -> bool:
        sizes.append(len(documents))
        return await add(after, documents)

    monkeypatch.setattr(index, "_add", note)
    assert await index.fill_search() == 60
    assert sizes == [pace.FIRST, *[pace.LEAST] * 5, 60 - pace.FIRST - 5 * pace.LEAST]


async def test_an_archived_task_is_not_found_and_leaves_the_index(database: Database) -> None:
    await add_ended(database, make_task("kept"), make_task("gone"), make_task("early"))
    index = SqliteCare(database)
    after, documents = await index._next(10)
    await remove(database, "early")
    assert await index._add(after, documents)
    await remove(database, "gone")
    assert await found(database, "测试") == {"kept"}
    assert await select(database, "SELECT count(*) FROM publish_tasks_search WHERE text MATCH '测'") == [(1,)]


async def test_damaged_payloads_are_searched_as_text(database: Database) -> None:
    await insert(
        database,
        "publish_tasks",
        {"job_id": "cut", "created_at": "2025-01-01 08:00:00", "task_data": '{"title": "春节特辑'},
        {"job_id": "blob", "created_at": "2025-01-01 08:00:00", "task_data": b"\xff\xfe spring"},
        {"job_id": "list", "created_at": "2025-01-01 08:00:00", "task_data": json.dumps([["deep", {"x": "春"}]])},
    )
    for _ in range(2):
        assert await found(database, "春") == {"cut", "list"}
        assert await found(database, "spring") == {"blob"}
        await SqliteCare(database).fill_search()


async def test_a_long_query_is_refused_and_one_at_the_limit_is_served(database: Database) -> None:
    assert await found(database, "测" * MAX_QUERY_CHARACTERS) == set()
    with pytest.raises(InvalidValue) as refused:
        await SqliteHistory(database).page(TaskFilter(q="测" * (MAX_QUERY_CHARACTERS + 1)))
    assert refused.value.path == "$.q"


@given(st.text(max_size=60), st.text(max_size=MAX_QUERY_CHARACTERS))
def test_a_text_is_found_by_each_of_its_words_and_any_query_can_be_read(text: str, typed: str) -> None:
    words = cut(text)
    for word in words_of(text):
        assert read_query(word).matches(words) or not words_of(word)
    query = read_query(typed)
    assert query.expression.count('"') == 2 * len(query.phrases)
    assert query.matches(cut(typed)) or not query.phrases


@given(st.text(max_size=80))
def test_cutting_words_again_changes_nothing(text: str) -> None:
    once = cut(text)
    assert cut(once) == once


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_the_texts_of_data_that_is_cut_off_are_those_of_whole_data(value: object) -> None:
    data = msgspec.json.encode([value])
    head = "\n".join(words._texts_of_head(data))
    assert head == texts_in(data)


@given(st.text(), st.text(max_size=MAX_QUERY_CHARACTERS))
def test_no_task_is_ruled_out_at_a_glance_that_would_be_found(text: str, typed: str) -> None:
    for data in (msgspec.json.encode({"a": text}), json.dumps({"a": text}).encode(), text.encode()):
        for query in (read_query(typed), *map(read_query, words_of(text)[:5])):
            assert query.may_match(data) or not query.matches(cut(texts_in(data)))
