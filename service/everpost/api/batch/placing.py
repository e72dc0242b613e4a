"""Gives times to the tasks of a batch that have none: of a JSON batch at once, of a stream as they come."""

from collections import Counter
from collections.abc import Sequence
from datetime import tzinfo
from typing import TypeGuard

import msgspec

from everpost.api.services import Services
from everpost.errors import InvalidValue, ServiceError
from everpost.store.account_zones import KnownZones, zone_named
from everpost.task.schedule_times import local_text
from everpost.task.spread import SPREAD_PATH, Places, Spread
from everpost.task.submission import MAX_AHEAD_MS, Submission, decoded_data, encode_json, invalid_value

Item = Submission | ServiceError
"""An item that a client sent, or its error."""

Group = tuple[str, str] | None
"""The platform and account whose tasks are placed one after the other; None is all of a batch."""


def read_spread(value: object) -> Spread:
    """The `spread` in a request.

    Raises:
        InvalidValue: It is not one.
    """
    try:
        spread = msgspec.convert(value, Spread)
    except msgspec.ValidationError as error:
        wrong = invalid_value(error)
        wrong.path = SPREAD_PATH + wrong.path.removeprefix("$")
        raise wrong from error
    spread.check()
    return spread


class Placing:
    """Places the tasks of one batch.

    Args:
        zones: Remembers the zones of accounts.

    Raises:
        InvalidValue: The spread's time zone is not known.
    """

    def __init__(self, services: Services, spread: Spread, zones: KnownZones) -> None:
        self._services = services
        self._spread = spread
        self._known = zones
        self._zone = None if spread.timezone is None else zone_named(spread.timezone, f"{SPREAD_PATH}.timezone")
        self._now_ms = services.clock()
        self._placed: Counter[Group] = Counter()
        self._counts: Counter[Group] = Counter()
        self._zones: dict[Group, tzinfo] = {}
        self._places: dict[tzinfo, Places] = {}

    def check(self) -> None:
        """Check the times of the spread itself.

        Raises:
            InvalidValue: The window is past, empty or too long, or one of its times cannot be read.
        """
        self._places_in(self._zone or self._services.zones.default)

    async def place_all(self, items: Sequence[Item]) -> list[Item]:
        """The items of a whole batch, with times for those that have none.

        Raises:
            InvalidValue: Not all of them can be placed.
        """
        self._counts.update(self._group_of(item) for item in items if _is_to_place(item))
        return [await self._place(item) if _is_to_place(item) else item for item in items]

    async def place_next(self, items: Sequence[Item]) -> list[Item]:
        """The next items of a stream, with times for those that have none, and errors of those without a place."""
        return [await self._place_if_it_can_be(item) if _is_to_place(item) else item for item in items]

    async def _place_if_it_can_be(self, item: Submission) -> Item:
        try:
            return await self._place(item)
        except InvalidValue as error:
            return error

    async def _place(self, item: Submission) -> Submission:
        group = self._group_of(item)
        zone = self._zones.get(group) or await self._zone_of(item, group)
        count = self._counts[group] or self._spread.count
        number = self._placed[group]
        if count is not None and number >= count:
            raise InvalidValue(f"`count` says that the window is for {count} tasks.", f"{SPREAD_PATH}.count")
        placed = _placed(item, self._places_in(zone).time_ms(number, count or 0), zone, self._now_ms)
        self._placed[group] += 1
        return placed

    def _group_of(self, item: Submission) -> Group:
        return (item.platform.name, item.view.account_id) if self._spread.counts_accounts else None

    async def _zone_of(self, item: Submission, group: Group) -> tzinfo:
        zone = self._zone
        if zone is None and group is not None:
            zone = await self._services.zones.of_account(item.platform.name, item.view.account_id, self._known)
        self._zones[group] = zone = zone or self._services.zones.default
        return zone

    def _places_in(self, zone: tzinfo) -> Places:
        if zone not in self._places:
            self._places[zone] = self._spread.places(zone, self._now_ms)
        return self._places[zone]


def _is_to_place(item: Item) -> TypeGuard[Submission]:
    return isinstance(item, Submission) and item.view.schedule_time is None


def _placed(item: Submission, time_ms: int, zone: tzinfo, now_ms: int) -> Submission:
    """The item as if the client had sent it with the time."""
    if time_ms > now_ms + MAX_AHEAD_MS:
        raise InvalidValue("The last of these times is more than ten years ahead.", SPREAD_PATH)
    text = local_text(time_ms, zone)
    return msgspec.structs.replace(
        item,
        view=msgspec.structs.replace(item.view, schedule_time=text),
        task_data=encode_json({**decoded_data(item.task_data), "schedule_time": text}),
        due_at_ms=time_ms,
        is_placed=True,
    )
