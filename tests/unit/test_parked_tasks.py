"""What parked tasks wait for, as people and metrics are told: the largest first, with few labels."""

from collections.abc import Mapping

import pytest

from everpost.actions.limits import ShownLimits, ShownScope, ShownUse
from everpost.cli.gate_checkup import parked_findings
from everpost.limits import NO_LIMITS
from everpost.task.holds import Hold, WaitKind
from everpost.views.parked_tasks import parked_counts, parked_tasks

SINCE = "2026-01-01T00:00:00.000Z"
HELD = Hold(kind=WaitKind.HELD, reason="auth: The password is wrong.", since=SINCE)


def scope(
    name: str, waiting: int, kind: WaitKind | None = None, hold: Hold | None = None, until: str | None = None
) -> ShownScope:
    use = ShownUse(waiting=waiting, kind=kind, until=until, running=0, used_today=0)
    return ShownScope(scope=name, limits=NO_LIMITS, is_set=False, hold=hold, use=use)


LANES = [
    scope("douyin/alice", 1_234, WaitKind.RATE, HELD),
    scope("douyin/bob", 1, WaitKind.DAILY, until="2026-01-02T00:00:00.000Z"),
    scope("douyin/carol", 3, WaitKind.DAILY),
    scope("gone/dave", 2, WaitKind.GAP),
    scope("*", 5, WaitKind.CONCURRENCY),
    scope("bilibili", 0),
]


def test_the_scopes_that_most_tasks_wait_for_come_first_with_the_reason_of_their_hold() -> None:
    alice, everything, *_ = found = parked_tasks(ShownLimits(1_245, LANES))
    assert (alice.scope, alice.kind, alice.tasks, alice.reason, alice.since) == (
        "douyin/alice", WaitKind.HELD, 1_234, "auth: The password is wrong.", SINCE
    )  # fmt: skip
    assert (everything.scope, everything.kind, everything.reason) == ("*", WaitKind.CONCURRENCY, None)
    assert [parked.tasks for parked in found] == [1_234, 5, 3, 2, 1]
    assert len(parked_tasks(ShownLimits(1_245, LANES), 2)) == 2


@pytest.mark.parametrize(("parked", "rest"), [(1_245, {}), (1_300, {("other", "other"): 55})])
def test_labels_are_platforms_of_the_catalogue_and_kinds_and_add_up(
    parked: int, rest: Mapping[tuple[str, str], int]
) -> None:
    assert parked_counts(ShownLimits(parked, LANES), {"douyin", "bilibili"}) == {
        ("douyin", "held"): 1_234, ("douyin", "daily"): 4, ("other", "gap"): 2, ("*", "concurrency"): 5, **rest
    }  # fmt: skip


def test_the_doctor_says_how_many_tasks_wait_for_what_since_when_and_why() -> None:
    alice, everything, *_, bob = parked_findings(ShownLimits(1_245, LANES))
    assert alice.value == f"1,234 tasks wait for douyin/alice: held since {SINCE}, auth: The password is wrong."
    assert alice.advice == "Mend the account, then `everpost accounts resume douyin alice`."
    assert everything.value == "5 tasks wait for everything: concurrency"
    assert bob.value == "1 task waits for douyin/bob: daily until 2026-01-02T00:00:00.000Z"
    paused = Hold(kind=WaitKind.PAUSED, reason="wait", since=SINCE)
    (spaced,) = parked_findings(ShownLimits(1, [scope("douyin/the shop", 1, hold=paused)]))
    assert spaced.advice == "`everpost limits resume --platform douyin --account-id 'the shop'` lets them go on."
    assert [finding.value for finding in parked_findings(ShownLimits(0, []))] == ["0"]
    assert [*parked_findings(ShownLimits(None, LANES))] == []
    *_, rest = parked_findings(ShownLimits(1_247, [*LANES, scope("x/y", 2, WaitKind.RATE)]))
    assert rest.value == "1,247 in all; `everpost limits` shows all that they wait for"
