"""Pickles of stock arq clients: plain values are read, everything else is refused, and nothing is ever executed."""

import os
import pickle
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everpost.queue.codec import deserialize, is_pickle, serialize
from everpost.queue.plain_pickle import MOST_DEPTH, MOST_STEPS, PickleRefusedError, read_plain_pickle

NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
KEYS = st.none() | st.booleans() | NUMBERS | TEXTS  # longer ints are values only
BASIC = KEYS | st.integers(-(2**1000), 2**1000)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner)


EVERY_PROTOCOL = st.recursive(BASIC, containers)
PLAIN = st.recursive(
    BASIC | st.binary(max_size=20), lambda inner: containers(inner) | st.sets(KEYS) | st.frozensets(KEYS)
)


def same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and value == other


@settings(max_examples=60)
@given(EVERY_PROTOCOL, st.integers(0, 5))
def test_plain_values_are_read_in_every_protocol(value: Any, protocol: int) -> None:
    assert same(read_plain_pickle(pickle.dumps(value, protocol)), value)


@settings(max_examples=50)
@given(PLAIN, st.integers(4, 5))
def test_bytes_and_sets_are_read_in_the_protocols_that_write_them_without_a_call(value: Any, protocol: int) -> None:
    assert same(read_plain_pickle(pickle.dumps(value, protocol)), value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(payload: bytes) -> None:
    with suppress(PickleRefusedError):
        read_plain_pickle(payload)


@settings(max_examples=60)
@given(PLAIN, st.integers(0, 5), st.data())
def test_a_damaged_pickle_is_a_value_or_refused(value: Any, protocol: int, data: st.DataObject) -> None:
    payload = bytearray(pickle.dumps(value, protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PickleRefusedError):
        read_plain_pickle(bytes(payload))


class Trap:
    """Leaves a file when it is unpickled, by each of the ways there are."""

    def __init__(self, way: str, path: Path) -> None:
        self._way = way
        self._path = path

    def __reduce_ex__(self, protocol: Any) -> Any:
        made = (os.mkdir, (str(self._path),))
        ways = {
            "call": made,
            "state": (dict, (), {"x": 1}),
            "items": (list, (), None, iter([1])),
            "new": (OrderedDict, ()),
        }
        return ways[self._way]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("way", ["call", "state", "items", "new"])
def test_a_trap_does_not_go_off(way: str, protocol: int, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(PickleRefusedError, match="global"):
        read_plain_pickle(pickle.dumps({"k": [Trap(way, made)]}, protocol))
    assert not made.exists()


@pytest.mark.parametrize(
    "value", [datetime(2026, 1, 1, tzinfo=UTC), Decimal(1), OrderedDict(a=1), print, pickle.Pickler]
)
def test_a_value_of_a_class_is_refused_and_the_refusal_names_it(value: Any) -> None:
    with pytest.raises(PickleRefusedError, match=r"names the global (datetime|decimal|collections|builtins|_pickle)\."):
        read_plain_pickle(pickle.dumps([value], 4))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b".",
        b"(.",
        b"\x80\x04.",
        b"\x80\x04]]e.",
        b"\x80\x04(]]e.",
        b"\x80\x04}K\x01K\x02K\x03ue.",
        b"\x80\x04]h\x07.",
        b"\x80\x04q\x01.",
        b"\x80\x04NN.",
        b"\x80\x04]2.",
        b"\x80\x04P1\n.",
        b"\x80\x04NQ.",
        b"\x80\x04\x82\x01.",
        b"(ios\nsystem\n.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04]N\x81.",
        b"\x80\x04}}b.",
        b"I" + b"9" * 5_000 + b"\n.",
        b"\x80\x04\x8b\xff\x00\x00\x00" + b"\x7f" * 255 + b".",
        b"\x80\x05\x97.",
        b"\x80\x05\x96" + b"\xff" * 8 + b".",
        b"\x80\x04B\xff\xff\xff\x7fx.",
    ],
)
def test_odd_opcodes_are_refused(payload: bytes) -> None:
    with pytest.raises(PickleRefusedError):
        read_plain_pickle(payload)


def nested(depth: int) -> bytes:
    return b"\x80\x04" + b"]" * depth + b"a" * (depth - 1) + b"."


def containing_itself() -> bytes:
    return b"\x80\x04]q\x00h\x00a."


def shared_text() -> bytes:
    text = b"x" * 100_000
    return b"\x80\x04](X" + len(text).to_bytes(4, "little") + text + b"q\x00" + b"h\x00" * 1_000 + b"e."


def billion_laughs() -> bytes:
    body = b"\x80\x04](X\x03\x00\x00\x00ha!eq\x00"
    for level in range(8):
        body += b"](" + (b"h" + bytes([level])) * 16 + b"e"
        body += b"\x86q" + bytes([level + 1])  # one value with the one before, so that the stack holds one
    return body + b"."


def far_memo() -> bytes:
    return b"\x80\x04]r\xff\xff\xff\x7f."


def many_steps() -> bytes:
    return b"\x80\x04(" + b"]" * (2 * MOST_STEPS) + b"l."


def colliding_keys() -> bytes:
    keys = (((2**61 - 1) << 6) * number for number in range(1, 1_000))
    return pickle.dumps(dict.fromkeys(keys, 0), 4)


@pytest.mark.parametrize(
    "bomb", [containing_itself, shared_text, billion_laughs, many_steps, colliding_keys, lambda: nested(MOST_DEPTH + 1)]
)
def test_a_bomb_is_refused_before_it_grows(bomb: Callable[[], bytes]) -> None:
    payload = bomb()
    began = time.process_time()
    with pytest.raises(PickleRefusedError):
        read_plain_pickle(payload)
    assert time.process_time() - began < 10


def test_a_memo_with_a_far_index_takes_no_room_for_those_before() -> None:
    assert read_plain_pickle(far_memo()) == []


def test_depth_has_a_limit_that_a_task_stays_below() -> None:
    assert read_plain_pickle(nested(MOST_DEPTH - 1))


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=8), BASIC, min_size=1, max_size=5), st.integers(0, 5))
def test_a_message_is_told_by_its_first_byte(message: dict[str, Any], protocol: int) -> None:
    pickled = pickle.dumps(message, protocol)
    assert is_pickle(pickled)
    assert deserialize(pickled) == message


@given(st.dictionaries(st.text(max_size=8), st.integers(0, 9), max_size=40))
def test_a_msgpack_map_is_never_taken_for_a_pickle(message: dict[str, int]) -> None:
    payload = serialize(message)
    assert not is_pickle(payload)
    assert deserialize(payload) == message


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"hello", b"\x93\x01\x02\x03", pickle.dumps([1]), b"\x81\xa1a"])
def test_an_unreadable_message_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|pickle|msgpack"):
        deserialize(payload)
