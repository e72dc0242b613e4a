import contextlib
import gc
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.errors import BadInput, InvalidValue, MalformedJson, UnknownPlatform
from everpost.platforms import Catalogue
from everpost.task.submission import MAX_DEPTH, SubmissionReader, _depth_of, decode_json

NOW_MS = 1_790_000_000_000
READER = SubmissionReader(Catalogue.read(), ZoneInfo("Asia/Shanghai"))
TEXT_CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(TEXT_CHARACTERS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(TEXT_CHARACTERS), inner, max_size=4),
    max_leaves=20,
)


def body(**fields: object) -> bytes:
    return msgspec.json.encode({"platform": 1, "account_id": "a", **fields})


def path_of(payload: bytes) -> str:
    with pytest.raises(InvalidValue) as caught:
        READER.read(payload, NOW_MS)
    return caught.value.path


@given(st.dictionaries(st.text(TEXT_CHARACTERS, min_size=1).map("x_".__add__), JSON))
def test_the_whole_payload_is_kept_equal_as_json(extra: dict[str, object]) -> None:
    sent = {"platform": 1, "account_id": "a", **extra}
    kept = READER.read(msgspec.json.encode(sent), NOW_MS).task_data
    assert msgspec.json.decode(kept) == sent


def test_text_is_kept_readable() -> None:
    kept = READER.read(b'{"platform": 1, "account_id": "a", "title": "\\u6d4b\\u8bd5"}', NOW_MS).task_data
    assert "测试".encode() in kept


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (body(platform=True), "$.platform"),
        (body(platform="nowhere"), "$.platform"),
        (body(account_id=5), "$.account_id"),
        (body(account_id=""), "$.account_id"),
        (body(priority=10), "$.priority"),
        (body(priority=-1), "$.priority"),
        (body(priority=True), "$.priority"),
        (body(priority="5"), "$.priority"),
        (body(tags=["a", 1]), "$.tags[1]"),
        (body(title=None), "$.title"),
        (body(schedule_time="tomorrow"), "$.schedule_time"),
        (body(schedule_time="1999-12-31"), "$.schedule_time"),
        (body(schedule_time="9999-12-31T23:59:59-23:59"), "$.schedule_time"),
        (body(schedule_time="0001-01-01T00:00:00+23:59"), "$.schedule_time"),
        (body(title="a\0b"), "$.title"),
        (body(deep={"list": [1, "\0"]}), "$.deep.list[1]"),
        (body(**{"key\0": 1}), "$"),
        (b"[]", "$"),
        (b"5", "$"),
        (b'{"account_id": "a"}', "$"),
        (b'{"platform": 1, "account_id": "a", "x": 1e999}', "$"),
    ],
)
def test_a_wrong_value_is_named_by_its_json_path(payload: bytes, path: str) -> None:
    assert path_of(payload) == path


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"\xff", b'"\xed\xa0\x80"', b'{"a": NaN}', b"\xef\xbb\xbf{}", b'{"a": "\\ud800"}', b"[" * 100_000],
)
def test_a_body_that_is_not_json_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedJson):
        READER.read(payload, NOW_MS)


@given(st.integers(MAX_DEPTH - 3, MAX_DEPTH + 3), st.booleans())
def test_nesting_has_one_limit_wherever_it_is_read(depth: int, in_lists: bool) -> None:
    value: object = 1
    for _ in range(depth - 1):
        value = [value] if in_lists else {"a": value}
    payload = body(deep=value)
    if depth <= MAX_DEPTH:
        assert READER.read(payload, NOW_MS).task_data
    else:
        with pytest.raises(MalformedJson):
            READER.read(payload, NOW_MS)


@given(st.binary())
def test_bytes_of_a_stranger_are_refused_or_taken_never_a_crash(payload: bytes) -> None:
    with contextlib.suppress(BadInput):
        READER.read(payload, NOW_MS)


def test_a_time_without_an_offset_is_read_in_the_service_s_zone() -> None:
    naive = READER.read(body(schedule_time="2026-12-24 18:00"), NOW_MS)
    exact = READER.read(body(schedule_time="2026-12-24T18:00:00+08:00"), NOW_MS)
    assert naive.due_at_ms == exact.due_at_ms == 1_798_106_400_000


def test_a_platform_is_found_by_id_name_and_alias() -> None:
    assert {
        READER.read(body(platform=spelling), NOW_MS).platform.name for spelling in (3, "3", "douyin", "Douyin")
    } == {"douyin"}
    with pytest.raises(UnknownPlatform):
        READER.read(body(platform=99), NOW_MS)


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


BRACKETS = st.recursive(
    st.text('[]{}",\\\\/ a', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\\\'), inner, max_size=3),
    max_leaves=30,
)


@given(BRACKETS)
def test_the_depth_is_told_from_the_brackets_outside_texts(value: object) -> None:
    assert _depth_of(msgspec.json.encode(value)) == depth(value)
    assert _depth_of(msgspec.json.format(msgspec.json.encode(value))) == depth(value)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize(("count", "is_refused"), [(MAX_DEPTH, False), (MAX_DEPTH + 1, True)])
def test_as_deep_as_allowed_is_read_however_much_there_is_of_it(opening: bytes, count: int, is_refused: bool) -> None:
    closing = b"]" if opening == b"[" else b"}"
    deep = opening * count + b"1" + closing * count
    many = b"[" + b",".join([opening * (count - 1) + b"1" + closing * (count - 1)] * 1_000) + b"]"
    for payload in (deep, many):
        with pytest.raises(MalformedJson, match="64 deep") if is_refused else contextlib.nullcontext():
            decode_json(payload)


def test_a_large_body_leaves_the_garbage_collector_as_it_was() -> None:
    payload = b"[" + b"[]," * 30_000 + b"[]]"
    assert len(decode_json(payload)) == 30_001
    assert gc.isenabled()
    with pytest.raises(MalformedJson):
        decode_json(payload + b"]")
    assert gc.isenabled()
    gc.disable()
    try:
        decode_json(payload)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_nul_behind_very_many_values_is_refused_without_its_path() -> None:
    assert path_of(body(x=[[]] * 200_000 + ["\0"])) == "$"
    assert path_of(body(x=[[]] * 9_000 + ["\0"])) == "$.x[9000]"


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "a\\\\\\u0000"])
def test_a_text_that_only_spells_a_nul_is_kept(text: str) -> None:
    kept = READER.read(body(title=text), NOW_MS).task_data
    assert msgspec.json.decode(kept)["title"] == text
