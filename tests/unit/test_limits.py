"""Limits and holds: what the catalogue may say, which tasks have one, and the days of a zone."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everpost.clock import DAY_MS, read_time
from everpost.errors import SettingsError
from everpost.limits import EVERYTHING, LONGEST_ACCOUNT, NO_LIMITS, Limits, Rate, lane_of, platform_of
from everpost.platforms import Catalogue
from everpost.store.limits import Use
from everpost.task.gate_table import GateTable, each_account_of
from everpost.task.holds import Hold, ScopeState, WaitKind, read_state, with_hold, without_hold, write_state
from everpost_workers.gates.uses import uses_by_scope

PAUSED = Hold(kind=WaitKind.PAUSED, reason="x", since="2026-01-01T00:00:00.000Z")
CATALOGUE = """
[limits]
concurrency = 50
[platforms.douyin]
limits = { concurrency = 5 }
[platforms.douyin.account_limits]
gap_s = 60
daily = 50
rates = [{ count = 10, per_s = 3600 }]
"""


def catalogue(tmp_path: Path, text: str) -> Catalogue:
    path = tmp_path / "platforms.toml"
    path.write_text(text, encoding="utf-8")
    return Catalogue.read(path)


def table(**states: ScopeState) -> GateTable:
    return GateTable(Catalogue.read(), {scope.replace("__", "/"): state for scope, state in states.items()})


def test_the_catalogue_has_limits_of_everything_of_platforms_and_of_each_account(tmp_path: Path) -> None:
    found = catalogue(tmp_path, CATALOGUE)
    assert found.limits == Limits(concurrency=50)
    assert found.find("douyin").limits == Limits(concurrency=5)
    limits = GateTable(found).limits_of("douyin/shop")
    assert limits == Limits(gap_s=60, daily=50, rates=(Rate(count=10, per_s=3600),))
    assert GateTable(found).limits_of("bilibili/shop") == NO_LIMITS


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[limits]\nconcurrency = 0", "limits.concurrency"),
        ("[limits]\nspeed = 1", "limits"),
        ("[platforms.douyin.limits]\ngap_s = 0", "platforms.douyin.limits.gap_s"),
        ("[platforms.douyin.account_limits]\nrates = [{count = 1}]", "platforms.douyin.account_limits.rates"),
        ("[platforms.douyin.account_limits]\nrates = [{count = 10001, per_s = 1}]", "rates"),
        ("limits = 3", "limits"),
    ],
)
def test_a_limit_that_makes_no_sense_stops_the_start(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(SettingsError, match=place.replace(".", r"\.")):
        catalogue(tmp_path, text)


def test_without_limits_no_task_is_asked_about() -> None:
    gates = GateTable(Catalogue.read())
    assert gates.is_empty
    assert not gates.concerns("douyin")
    assert not gates.is_gated("douyin/shop")


def test_a_limit_concerns_its_own_tasks_only() -> None:
    limits = ScopeState(limits=Limits(concurrency=1))
    gates = table(douyin__shop=limits, kuaishou=limits)
    assert [gates.is_gated(lane) for lane in ("douyin/shop", "douyin/other", "kuaishou/a", "bilibili/shop")] == [
        True, False, True, False,
    ]  # fmt: skip
    assert [gates.concerns(name) for name in ("douyin", "kuaishou", "bilibili")] == [True, True, False]
    assert GateTable(Catalogue.read(), {EVERYTHING: limits}).is_gated("bilibili/shop")
    assert GateTable(Catalogue.read(), {each_account_of("douyin"): limits}).is_gated("douyin/any")


def test_limits_set_at_run_time_replace_those_of_the_catalogue_and_none_set_is_no_limit(tmp_path: Path) -> None:
    states = {"douyin/shop": ScopeState(limits=Limits()), "douyin/held": ScopeState(hold=PAUSED)}
    gates = GateTable(catalogue(tmp_path, CATALOGUE), states)
    packed = gates.packed(0)
    assert (packed["douyin/shop"], gates.limits_of("douyin/shop")) == ({}, NO_LIMITS)
    assert packed["douyin/held"]["hold"] == "paused"
    assert packed["douyin/held"]["gap"] == packed["/douyin"]["gap"] == 60_000
    assert packed["/douyin"]["memory"] == 3_600_000
    assert packed["/douyin"]["most"] == 10


def test_a_long_account_has_a_lane_of_its_own_of_bounded_length() -> None:
    first, second = lane_of("douyin", "a" * 300 + "1"), lane_of("douyin", "a" * 300 + "2")
    assert first != second
    assert len(first) < LONGEST_ACCOUNT
    assert platform_of(lane_of("douyin", "a/b")) == "douyin"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"hold": {"kind": "of a newer version", "reason": "", "since": ""}}'])
def test_a_stored_state_that_cannot_be_read_holds_its_scope(text: str) -> None:
    hold = read_state(text).hold
    assert hold is not None
    assert hold.kind is WaitKind.HELD


def test_a_hold_stays_until_it_is_ended() -> None:
    held = with_hold(PAUSED)(ScopeState(limits=Limits(daily=1)))
    assert read_state(write_state(held)) == held
    assert with_hold(Hold(kind=WaitKind.HELD, reason="y", since=""))(held) == held
    assert without_hold(WaitKind.HELD)(held) == held
    assert without_hold()(held) == ScopeState(limits=Limits(daily=1))


@pytest.mark.parametrize(
    ("zone", "now", "ends"),
    [
        ("UTC", "2026-03-01T23:59:59.999Z", ["2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"]),
        ("Asia/Shanghai", "2026-03-01T15:59:59Z", ["2026-03-01T16:00:00Z", "2026-03-02T16:00:00Z"]),
        ("Europe/Berlin", "2026-03-29T00:30:00Z", ["2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"]),  # 23 hours
        ("Europe/Berlin", "2026-10-24T22:00:00Z", ["2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"]),  # 25 hours
        ("America/Havana", "2026-11-01T05:30:00Z", ["2026-11-02T05:00:00Z", "2026-11-03T05:00:00Z"]),  # midnight twice
        ("Africa/Cairo", "2026-04-23T12:00:00Z", ["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"]),  # no midnight
    ],
)
def test_days_end_at_midnight_in_their_zone(zone: str, now: str, ends: list[str]) -> None:
    gates = GateTable(Catalogue.read(), zone=ZoneInfo(zone))
    now_ms = read_time(now, ZoneInfo("UTC"))
    midnights = gates.packed(now_ms)[f"day:{zone}"]
    assert midnights[:2] == [read_time(text, ZoneInfo("UTC")) for text in ends]
    assert gates.day_began_ms(now_ms) <= now_ms < midnights[0]


def test_an_account_s_days_are_those_of_its_own_zone() -> None:
    limits = ScopeState(limits=Limits(daily=1))
    zones = {"douyin/a": ZoneInfo("Asia/Shanghai"), "bilibili/a": ZoneInfo("Asia/Tokyo")}
    gates = GateTable(Catalogue.read(), {each_account_of("douyin"): limits}, zones=zones)
    packed = gates.packed(0)
    assert (packed["douyin/a"]["zone"], packed["/douyin"]["zone"]) == ("Asia/Shanghai", "UTC")
    assert packed["day:Asia/Shanghai"][0] == packed["day:UTC"][0] - 8 * 3_600_000
    assert "bilibili/a" not in packed  # it has no daily limit
    assert gates.day_began_ms(0, "douyin/a") == -8 * 3_600_000


LANES = st.sampled_from(["douyin/a", "douyin/b", "kuaishou/a"])


@given(st.lists(st.tuples(LANES, st.integers(0, 3 * DAY_MS)), max_size=30), st.integers(-1000, 1000))
def test_an_emptied_redis_is_told_the_uses_of_each_scope(given_uses: list[tuple[str, int]], ahead_ms: int) -> None:
    limits = ScopeState(limits=Limits(rates=(Rate(count=5, per_s=60),), daily=3))
    gates = GateTable(Catalogue.read(), {each_account_of("douyin"): limits, EVERYTHING: limits})
    uses = sorted((Use("t", lane, at) for lane, at in given_uses), key=lambda use: -use.used_at_ms)
    told = uses_by_scope(uses, gates, 2 * DAY_MS + 1, ahead_ms)
    for scope, concerned in (
        ("*", uses),
        ("douyin/a", [use for use in uses if use.lane == "douyin/a"]),
        ("douyin", []),
        ("kuaishou/a", []),
    ):
        times, today = told.get(scope, ([], 0))
        assert times == [use.used_at_ms + ahead_ms for use in concerned]
        assert today == sum(use.used_at_ms >= 2 * DAY_MS for use in concerned)
