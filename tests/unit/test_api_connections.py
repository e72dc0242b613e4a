"""Which connections make room, which are closed, and what is logged about it."""

from structlog.testing import capture_logs

from everpost.api.server.connections import Connections, Standing
from everpost.testing import eventually

LIMITS_S = {Standing.IDLE: 0.02, Standing.BODY: 0.02}


class Client:
    """A connection with a given standing."""

    def __init__(self, standing: Standing, *, is_broken: bool = False) -> None:
        self.stands = standing
        self.is_broken = is_broken
        self.moved = 0
        self.is_hung_up = self.is_turned_away = False

    peer = "192.0.2.1:80"

    def standing(self) -> Standing:
        return self.stands

    def progress(self, standing: Standing) -> object:
        assert standing is self.stands
        if self.is_broken:
            raise RuntimeError("of no importance")
        self.moved += self.stands is Standing.ANSWER
        return self.moved

    def hang_up(self) -> None:
        self.is_hung_up = True

    def turn_away(self) -> None:
        self.is_turned_away = True


async def test_the_connection_that_has_waited_longest_for_its_client_makes_room() -> None:
    connections = Connections(3, {Standing.IDLE: 60})
    served, first, second = Client(Standing.SERVED), Client(Standing.IDLE), Client(Standing.BODY)
    for client in (served, first, second):
        connections.add(client)
    connections.touch(first)
    with capture_logs() as lines:
        for _ in range(2):
            connections.add(Client(Standing.IDLE))
    assert (served.is_hung_up, first.is_hung_up, second.is_hung_up) == (False, True, True)
    assert [(line["event"], line["displaced"]) for line in lines] == [("connections.full", 1)]


async def test_a_connection_while_all_are_served_is_turned_away() -> None:
    connections = Connections(2, {Standing.IDLE: 60})
    served = [Client(Standing.SERVED), Client(Standing.SERVED)]
    for client in served:
        connections.add(client)
    late = Client(Standing.IDLE)
    with capture_logs() as lines:
        connections.add(late)
    assert late.is_turned_away
    assert not any(client.is_hung_up for client in served)
    assert lines[0]["turned_away"] == 1


async def test_only_a_connection_without_progress_is_closed() -> None:
    connections = Connections(10, {**LIMITS_S, Standing.ANSWER: 0.02})
    still, moving, served = Client(Standing.BODY), Client(Standing.ANSWER), Client(Standing.SERVED)
    with capture_logs() as lines:
        for client in (still, moving, served):
            connections.add(client)

        async def has_moved() -> bool:
            return still.is_hung_up and moving.moved > 8

        await eventually(has_moved)
    assert not moving.is_hung_up
    assert not served.is_hung_up
    assert {line["waiting_for"] for line in lines} == {"the rest of a body"}


async def test_a_look_that_fails_is_not_the_last() -> None:
    connections = Connections(10, LIMITS_S)
    broken, idle = Client(Standing.BODY, is_broken=True), Client(Standing.IDLE)
    connections.add(idle)
    connections.add(broken)
    with capture_logs() as lines:

        async def has_failed() -> bool:
            return bool(lines)

        await eventually(has_failed)
        broken.is_broken = False

        async def is_hung_up() -> bool:
            return idle.is_hung_up

        await eventually(is_hung_up)
    assert lines[0]["event"] == "connections.look_failed"
