"""Which tasks have a limit or are held, from the catalogue and from what people set: pure, and looked up in memory."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Any

from everpost.limits import EVERYTHING, NO_LIMITS, Limits, Scope, platform_of
from everpost.platforms import Catalogue
from everpost.task.holds import NOTHING_SET, ScopeState

MIDNIGHTS = 4  # that Redis is told: enough if no worker tells it for two days


def each_account_of(platform: Scope) -> Scope:
    """The scope under which the limits of each account of a platform are kept."""
    return f"/{platform}"


class GateTable:
    """The limits and holds of all scopes.

    Args:
        version: Grows with each change.
        states: What the store keeps.
        zone: The one in which days are counted.
        zones: Other zones, by lane.

    Attributes:
        is_empty: No task has a limit or is held.
        counts_days: Some scope has a daily limit.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        states: Mapping[Scope, ScopeState] = MappingProxyType({}),
        *,
        version: int = 0,
        zone: tzinfo = UTC,
        zones: Mapping[Scope, tzinfo] = MappingProxyType({}),
    ) -> None:
        self.version = version
        self._zone = zone
        self._zones = zones
        self._states = dict(states)
        self._limits = dict(_limits_of(catalogue, states))
        held = {scope for scope, state in states.items() if state.hold is not None}
        self._gated = {scope for scope, limits in self._limits.items() if limits != NO_LIMITS} | held
        self._platforms = {scope.lstrip("/") for scope in self._gated if scope.find("/") <= 0}
        self._with_lanes = {platform_of(scope) for scope in self._gated if scope.find("/") > 0}
        self.is_empty = not self._gated
        self.counts_days = any(limits.daily is not None for limits in self._limits.values())

    def concerns(self, platform: str) -> bool:
        """Whether a task of the platform may have a limit or be held; its lane tells for sure."""
        return EVERYTHING in self._gated or platform in self._platforms or platform in self._with_lanes

    def is_gated(self, lane: Scope) -> bool:
        """Whether the lane's tasks have a limit or are held."""
        return EVERYTHING in self._gated or platform_of(lane) in self._platforms or lane in self._gated

    def limits_of(self, scope: Scope) -> Limits:
        """The limits that hold for a scope; those of an account are its own, or those of each account."""
        limits = self._limits.get(scope)
        if limits is None and scope.find("/") > 0:
            limits = self._limits.get(each_account_of(platform_of(scope)))
        return limits or NO_LIMITS

    def state_of(self, scope: Scope) -> ScopeState:
        """What people set for a scope."""
        return self._states.get(scope, NOTHING_SET)

    def scopes(self) -> list[Scope]:
        """The scopes that have a limit or are held, in order."""
        return sorted(self._gated)

    def counts_uses(self, lane: Scope) -> bool:
        """Whether it matters when attempts of this lane began."""
        return any(self.limits_of(scope).counts_uses for scope in (lane, platform_of(lane), EVERYTHING))

    def memory_ms(self) -> int:
        """For how long attempts are remembered."""
        day_ms = 90_000_000  # 25 hours, the longest day
        limits = self._limits.values()
        return max([0, *(max(round(each.memory_s * 1000), day_ms if each.daily else 0) for each in limits)])

    def day_began_ms(self, now_ms: int, scope: Scope = EVERYTHING) -> int:
        """When the present day of a scope began."""
        return round(_midnight(now_ms, self._zone_of(scope), 0).timestamp() * 1000)

    def _zone_of(self, scope: Scope) -> tzinfo:
        return self._zones.get(scope, self._zone)

    def packed(self, now_ms: int) -> dict[str, Any]:
        """The fields that Redis is told; see `queue/scripts/gate.lua`."""
        with_own_zone = {lane for lane in self._zones if self.limits_of(lane).daily is not None}
        without_limits = {scope for scope in self._limits if scope.find("/") > 0}  # unlike the others of their platform
        fields: dict[str, Any] = {
            scope: self._packed_scope(scope) for scope in self._gated | with_own_zone | without_limits
        }
        for zone in {self._zone, *(self._zones[lane] for lane in with_own_zone)}:
            ends = [_midnight(now_ms, zone, days) for days in range(1, MIDNIGHTS + 1)]
            fields[f"day:{zone}"] = [round(end.timestamp() * 1000) for end in ends]
        return fields

    def _packed_scope(self, scope: Scope) -> dict[str, Any]:
        packed = _packed_limits(self.limits_of(scope))
        if "daily" in packed:
            packed["zone"] = str(self._zone_of(scope))
        hold = self.state_of(scope).hold
        return packed if hold is None else packed | {"hold": hold.kind.value}


def _limits_of(catalogue: Catalogue, states: Mapping[Scope, ScopeState]) -> Iterator[tuple[Scope, Limits]]:
    yield EVERYTHING, catalogue.limits
    for platform in catalogue:
        yield platform.name, platform.limits
        yield each_account_of(platform.name), platform.account_limits
    for scope, state in states.items():
        if state.limits is not None:
            yield scope, state.limits


def _packed_limits(limits: Limits) -> dict[str, Any]:
    packed: dict[str, Any] = {"concurrency": limits.concurrency, "daily": limits.daily}
    if limits.rates:
        packed["rates"] = [[rate.count, round(rate.per_s * 1000)] for rate in limits.rates]
    if limits.gap_s is not None:
        packed["gap"] = round(limits.gap_s * 1000)
    if limits.memory_s:
        packed["memory"] = round(limits.memory_s * 1000)
        packed["most"] = max([1, *(rate.count for rate in limits.rates)])
    return {name: value for name, value in packed.items() if value is not None}


def _midnight(now_ms: int, zone: tzinfo, days: int) -> datetime:
    """The beginning of a local day, so many days from today. If DST leaves midnight out, it is the first time after."""
    today = datetime.fromtimestamp(now_ms / 1000, zone).date() + timedelta(days=days)
    return datetime(today.year, today.month, today.day, tzinfo=zone)
