"""`everpost limits` against a running stack."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cli_support import Up, serving, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes through /proc")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with serving(tmp_path_factory.mktemp("up")) as up:
        yield up


def asked(up: Up, *arguments: str) -> dict[str, Any]:
    """The command's `--json` answer."""
    done = up.everpost(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_limits_are_set_and_shown_and_a_paused_account_s_tasks_wait_until_it_is_resumed(up: Up) -> None:
    account = ("--platform", "抖音", "--account-id", "slow")
    set_ = up.everpost(
        "limits", "set", *account, "--concurrency", "2", "--rate", "5/60", "--gap", "0.5", "--daily", "9"
    )
    assert (set_.returncode, set_.stdout) == (0, "Limits set: douyin/slow\n"), set_.stderr
    paused = up.everpost("limits", "pause", *account, "--reason", "it is slow", "--by", "mei")
    assert (paused.returncode, paused.stdout) == (0, "Paused: douyin/slow\n"), paused.stderr
    until(lambda: up.publish(platform="douyin", account_id="slow") and asked(up, "limits")["parked"], "a parked task")
    shown = up.everpost("limits").stdout
    assert "douyin/slow: 2 at once, 0.5 s apart, 9 a day, 5 in 60 s; paused by mei: it is slow; " in shown
    assert "wait (paused)" in shown
    assert up.everpost("limits", "resume", *account).stdout == "Resumed: douyin/slow\n"
    assert up.everpost("limits", "set", *account, "--none").returncode == 0
    until(lambda: asked(up, "limits")["parked"] == 0, "no parked task")
    assert up.everpost("limits", "set", *account, "--catalogue").stdout == "Limits set: douyin/slow\n"
    assert up.everpost("limits").stdout == "0 tasks wait for limits and pauses\n"


def test_limits_that_make_no_sense_are_told_in_one_line(up: Up) -> None:
    for arguments, told in (
        (("set", "--platform", "douyin"), "Pass limits, --catalogue or --none."),
        (("set", "--platform", "douyin", "--rate", "fast"), "'fast' is not COUNT/SECONDS"),
        (("set", "--each-account", "--daily", "1"), "--each-account: It needs a platform"),
        (("pause", "--account-id", "a", "--reason", "x"), "--platform: An account is that of a platform."),
        (("resume", "--platform", "nowhere"), "--platform: There is no platform"),
    ):
        done = up.everpost("limits", *arguments)
        assert done.returncode in {1, 2}
        assert told in done.stderr, done.stderr
