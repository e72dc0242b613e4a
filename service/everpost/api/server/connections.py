"""Watches the open connections: limits their number, and closes those without progress."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import structlog

log = structlog.get_logger("everpost.api")

MOST_BETWEEN_LOOKS_S = 5


class Standing(StrEnum):
    """What a connection waits for."""

    IDLE = "a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    ANSWER = "the client to read its answer"
    LEAVING = "the client to hang up"  # after the server's last answer
    SERVED = "its answer"  # the only state in which the server must act
    STREAM = "events"  # it is read as long as the client likes


BUSY = frozenset({Standing.SERVED, Standing.STREAM})


class Connection(Protocol):
    """What is watched of an open connection."""

    @property
    def peer(self) -> str:
        """The client's address."""

    def standing(self) -> Standing:
        """What it waits for."""

    def progress(self, standing: Standing) -> object:
        """A value that changes whenever there is progress."""

    def hang_up(self) -> None:
        """Close it without sending the rest."""

    def turn_away(self) -> None:
        """Answer that there is no room, and close it."""


class _Watched:
    """The last progress of a connection, and its time."""

    __slots__ = ("progress", "since_s", "standing")

    def __init__(self) -> None:
        self.standing: Standing | None = None
        self.progress: object = None
        self.since_s = 0.0

    def still_s(self, connection: Connection, now_s: float) -> float:
        """Seconds without progress."""
        standing = connection.standing()
        progress = connection.progress(standing)
        if standing is not self.standing or progress != self.progress:
            self.standing, self.progress, self.since_s = standing, progress, now_s
        return now_s - self.since_s


class Connections:
    """The open connections of one server.

    A connection without progress for longer than `limits_s` allows is closed. If one more than `most` comes, the
    connection that has waited longest for its client is closed. If all are being served, the new one is turned away.
    Streams are counted apart, so that neither they nor other clients can take all connections.

    Args:
        most: The most open connections that are not streams.
        limits_s: The limit by what a connection waits for; a `Standing` that is not in it has no limit.
        room: The most open connections in all.
        most_streams: The most streams.
    """

    def __init__(
        self, most: int, limits_s: Mapping[Standing, float], *, room: int | None = None, most_streams: int = 0
    ) -> None:
        self.most = most
        self._room = most if room is None else room
        self._most_streams = most_streams
        self._streams: set[Connection] = set()
        self._limits_s = dict(limits_s)
        self._between_looks_s = min(MOST_BETWEEN_LOOKS_S, *(limit_s / 4 for limit_s in limits_s.values()))
        self._open: OrderedDict[Connection, _Watched] = OrderedDict()
        self._next_look: asyncio.TimerHandle | None = None
        self._is_full = False  # and this has been logged
        self._displaced = self._turned_away = 0  # since the last log line

    def add(self, connection: Connection) -> None:
        """Add a new connection, and make room for it or turn it away."""
        self._open[connection] = _Watched()
        if self._next_look is None:
            self._look_later()
        if len(self._open) - len(self._streams) <= self.most and len(self._open) <= self._room:
            return
        idlest = next((one for one in self._open if one.standing() not in BUSY), connection)
        if idlest is connection:
            self._turned_away += 1
            connection.turn_away()
        else:
            self._displaced += 1
            self.discard(idlest)
            idlest.hang_up()
        if not self._is_full:
            self._is_full = True
            self._tell_full()

    def begin_stream(self, connection: Connection) -> bool:
        """Count it as a stream until `end_stream`; False if there are too many."""
        if len(self._streams) >= self._most_streams:
            return False
        self._streams.add(connection)
        return True

    def end_stream(self, connection: Connection) -> None:
        """It is no stream any more."""
        self._streams.discard(connection)

    def touch(self, connection: Connection) -> None:
        """Note that its client has done something, or that it was answered."""
        if connection in self._open:
            self._open.move_to_end(connection)

    def discard(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._open.pop(connection, None)
        self._streams.discard(connection)

    def hurry(self, limit_s: float) -> None:
        """The server stops: from now on, no connection may be without progress for longer than `limit_s`."""
        self._limits_s = {standing: min(limit_s, usual_s) for standing, usual_s in self._limits_s.items()}
        self._between_looks_s = min(self._between_looks_s, limit_s / 4)
        if self._next_look is not None:
            self._next_look.cancel()
            self._look()

    def _look_later(self) -> None:
        self._next_look = asyncio.get_running_loop().call_later(self._between_looks_s, self._look)

    def _look(self) -> None:
        self._next_look = None
        try:
            self._hang_up_on_the_stuck()
        except Exception:
            log.exception("connections.look_failed")
        if self._open:
            self._look_later()

    def _hang_up_on_the_stuck(self) -> None:
        now_s = asyncio.get_running_loop().time()
        stuck = [(one, watched.standing) for one, watched in self._open.items() if self._is_stuck(one, watched, now_s)]
        for connection, _ in stuck:
            connection.hang_up()
        self._is_full = bool(self._displaced or self._turned_away)
        if self._is_full:
            self._tell_full()
        self._tell_stuck(stuck)

    def _is_stuck(self, connection: Connection, watched: _Watched, now_s: float) -> bool:
        still_s = watched.still_s(connection, now_s)
        limit_s = self._limits_s.get(watched.standing) if watched.standing else None
        return limit_s is not None and still_s >= limit_s

    def _tell_full(self) -> None:
        log.warning("connections.full", most=self.most, displaced=self._displaced, turned_away=self._turned_away)
        self._displaced = self._turned_away = 0

    def _tell_stuck(self, stuck: list[tuple[Connection, Standing | None]]) -> None:
        """Log closed connections, one line for all of a kind."""
        found = Counter(standing for _, standing in stuck)
        for standing in (Standing.HEAD, Standing.BODY, Standing.ANSWER):
            if found[standing]:
                peer = next(one.peer for one, seen in stuck if seen is standing)
                log.warning(
                    "connections.stuck",
                    waiting_for=str(standing),
                    for_s=self._limits_s[standing],
                    count=found[standing],
                    one_of_them=peer,
                )
