"""Which reader is sent which event, the ids of events, and how a client reads them."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from api_support import TASK
from everpost.access import Caller, Role
from everpost.api.server.connections import Connections, Standing
from everpost.api.server.descriptors import MOST_CONNECTIONS, MOST_STREAMS, most_connections, most_streams
from everpost.cli.events import ShownEvent, lines_of, read_events
from everpost.testing.events import StackEvents
from everpost.views.events.event import Event, EventFilter, EventType, sse
from everpost.views.events.position import Position, read_position
from everpost.views.events.readers import Readers

ENDED = Event(EventType.ENDED, "t1", 0, b"ended", platform="douyin", account_id="shop", batch_id="b")


class Client:
    def __init__(self, **wanted: Any) -> None:
        self.wanted = EventFilter(**wanted)

    def is_admitted(self) -> bool:
        return True

    def send(self, text: bytes) -> None:
        raise AssertionError(text)

    async def send_patiently(self, text: bytes) -> bool:
        raise AssertionError(text)

    def end(self) -> None:
        """Ends nothing."""


def limited_to(*, platforms: Iterable[str] = (), accounts: Iterable[tuple[str, str]] = ()) -> Caller:
    return Caller(name="key", role=Role.VIEWER, platforms=frozenset(platforms), accounts=frozenset(accounts))


MATCHING: list[dict[str, Any]] = [
    {},
    {"types": frozenset({"task.ended", "task.started"})},
    {"platform": "douyin", "account_id": "shop", "batch_id": "b"},
    {"task_ids": frozenset({"t1", "t2"})},
    {"caller": limited_to(platforms={"douyin"})},
    {"caller": limited_to(accounts={("douyin", "shop")})},
]
OTHERS: list[dict[str, Any]] = [
    {"types": frozenset({"task.started"})},
    {"platform": "bilibili"},
    {"account_id": "other"},
    {"batch_id": "c", "account_id": "shop"},
    {"task_ids": frozenset({"t2"})},
    {"caller": limited_to(platforms={"bilibili"})},
    {"caller": limited_to(accounts={("bilibili", "shop")})},
]


def test_readers_are_sent_what_they_want_and_nothing_else() -> None:
    readers = Readers()
    matching, others = [Client(**one) for one in MATCHING], [Client(**one) for one in OTHERS]
    for client in [*matching, *others]:
        readers.add(client)
    found = readers.texts_for([ENDED, msgspec.structs.replace(ENDED, text=b" twice")])
    assert {id(reader) for reader, _ in found} == set(map(id, matching))
    assert {text for _, text in found} == {b"ended twice"}
    assert len(found) == len(matching)


def test_readers_that_left_are_sent_nothing() -> None:
    readers = Readers()
    clients = [Client(**one) for one in MATCHING] + [Client()]
    for client in clients:
        readers.add(client)
    assert readers.has_broad
    assert readers.types is None
    assert set(readers.task_ids) == {"t1", "t2"}
    for client in clients:
        readers.discard(client)
        readers.discard(client)
    assert readers.texts_for([ENDED]) == []
    assert (len(readers), list(readers.task_ids)) == (0, [])
    assert readers.types == frozenset()


def test_callbacks_are_sent_only_to_those_who_ask_for_them() -> None:
    callback = msgspec.structs.replace(ENDED, is_callback=True, platform="callback")
    assert not EventFilter().matches(callback)
    assert not EventFilter(account_id="shop").matches(callback)
    assert EventFilter(platform="callback").matches(callback)
    assert EventFilter(task_ids=frozenset({"t1"})).matches(callback)


def test_a_sign_of_life_reaches_each_reader_once_in_all_turns() -> None:
    readers = Readers()
    clients = [Client() for _ in range(100)]
    for client in clients:
        readers.add(client)
    turns = [list(readers.of_turn(turn, 15)) for turn in range(15)]
    assert sorted(map(id, (client for turn in turns for client in turn))) == sorted(map(id, clients))
    assert max(map(len, turns)) == 7


@pytest.mark.parametrize(
    "position", [Position("0123456789", 0), Position("abcdef0123", 12, 0), Position("a" * 10, 9, 7)]
)
def test_an_id_is_read_as_the_position_it_was_made_of(position: Position) -> None:
    assert read_position(str(position)) == position


@pytest.mark.parametrize(
    "text", ["", "ended", "0123456789", "0123456789-", "0123456789-1-", "x123456789-1", "0123456789-1-2-3"]
)
def test_no_other_text_is_an_id(text: str) -> None:
    assert read_position(text) is None


def test_a_client_reads_what_the_server_writes() -> None:
    text = b"retry: 2000\n\n: connected\nid: x-1\n\n" + sse(EventType.ENDED, "x-2-0", TASK) + b": keep-alive\n\n"
    assert list(read_events(text.decode().split("\n"))) == [
        ShownEvent("x-1", "", {}),
        ShownEvent("x-2-0", "task.ended", TASK),
    ]


class Open:
    peer = "client"

    def __init__(self, standing: Standing) -> None:
        self.at = standing
        self.is_hung_up = self.is_turned_away = False

    def standing(self) -> Standing:
        return self.at

    def progress(self, standing: Standing) -> object:
        return standing

    def hang_up(self) -> None:
        self.is_hung_up = True

    def turn_away(self) -> None:
        self.is_turned_away = True


async def test_streams_take_no_room_of_other_connections_and_have_a_limit_of_their_own() -> None:
    connections = Connections(2, {Standing.IDLE: 60}, room=4, most_streams=2)
    streams = [Open(Standing.STREAM) for _ in range(3)]
    begun = []
    for stream in streams:
        connections.add(stream)
        begun.append(connections.begin_stream(stream))
    assert begun == [True, True, False]
    idle = Open(Standing.IDLE)
    connections.add(idle)
    assert not any(one.is_hung_up or one.is_turned_away for one in [*streams, idle])
    connections.add(Open(Standing.SERVED))
    assert idle.is_hung_up
    assert not any(stream.is_hung_up for stream in streams)
    connections.discard(streams[0])
    assert connections.begin_stream(streams[2])


@pytest.mark.parametrize(("room", "others", "streams"), [(100, 100, 50), (6_000, 4_096, 3_000), (12_288, 4_096, 8_192)])
def test_streams_leave_room_for_everything_else(room: int, others: int, streams: int) -> None:
    assert (most_connections(room), most_streams(room)) == (others, streams)
    assert MOST_CONNECTIONS + MOST_STREAMS == 12_288


async def test_readers_find_events_whose_text_has_odd_ends_of_lines() -> None:
    title = "a\u2028b\x85c\x1cd\r\ne"
    text = sse(EventType.ENDED, "tag-1-0", {"title": title})
    (read,) = read_events(lines_of(text[start : start + 7] for start in range(0, len(text), 7)))
    assert read == ShownEvent("tag-1-0", EventType.ENDED, {"title": title})
    events = StackEvents(EventFilter())
    events.send(text)
    assert (await events.next()).data == {"title": title}
