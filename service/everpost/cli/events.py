"""Follows the events of the running API: reads Server-Sent Events, and connects again after an interruption."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from everpost.cli.client import Api, ApiRefused, ApiUnreachable

RETRY_S = 1.0
UNAVAILABLE = 503


class ShownEvent(msgspec.Struct, frozen=True):
    """An event of the stream."""

    id: str
    event: str
    data: dict[str, Any]


class Interrupted(msgspec.Struct, frozen=True):
    """The API does not answer at the moment; it is asked again."""

    reason: str


def follow_events(
    api: Api, wanted: Mapping[str, Any], path: str = "/events", *, retry_s: float = RETRY_S
) -> Iterator[ShownEvent | Interrupted]:
    """The events, for ever, or until a stream about one task ends with it.

    Raises:
        ApiUnreachable: No API answers at first.
        ApiRefused: The API refuses.
    """
    last_id = ""
    has_begun = False
    while True:
        try:
            with api.stream(path, wanted, {"Last-Event-ID": last_id} if last_id else {}) as chunks:
                has_begun = True
                for event in read_events(lines_of(chunks)):
                    last_id = event.id or last_id
                    if event.event:
                        yield event
            if last_id == "ended":
                return
        except ApiUnreachable as error:
            if not has_begun:
                raise
            yield Interrupted(error.message)
        except ApiRefused as error:
            if error.status != UNAVAILABLE or not has_begun:
                raise
            yield Interrupted(error.message)
        time.sleep(retry_s)


def lines_of(chunks: Iterable[bytes]) -> Iterator[str]:
    """The lines of a stream. `str.splitlines` and httpx also end lines at characters that titles have, like U+2028."""
    begun = b""
    for chunk in chunks:
        *whole, begun = (begun + chunk).split(b"\n")
        yield from (line.decode() for line in whole)


def read_events(lines: Iterable[str]) -> Iterator[ShownEvent]:
    """The events in the lines of a stream (HTML Living Standard, 9.2.6); one that only has an id has no `event`."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            if name:  # else it is a comment
                fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            data = msgspec.json.decode(fields["data"], type=dict[str, Any])
            yield ShownEvent(fields.get("id", ""), fields.get("event", "message"), data)
        elif fields.get("id"):
            yield ShownEvent(fields["id"], "", {})
        fields = {}
