"""The budget of a stop: whatever stops Everpost's processes waits longer than they take."""

import re
import signal
from pathlib import Path

from everpost.settings import Settings
from everpost.stopping import process_budget_s, stop_signals, up_budget_s

ROOT = Path(__file__).parents[2]


def test_compose_waits_longer_for_its_containers_than_a_stop_takes() -> None:
    compose = (ROOT / "compose.yaml").read_text("utf-8")
    (wait,) = re.findall(r"EVERPOST_SHUTDOWN_WAIT: .?(\d+)", compose)
    grace = re.findall(r"stop_grace_period: (\d+)s # EVERPOST", compose)
    assert [int(seconds) > process_budget_s(float(wait)) for seconds in grace] == [True]


def test_the_document_on_deploying_tells_the_budget() -> None:
    document = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    assert (process_budget_s(0), up_budget_s(0)) == (10, 15)
    (timeout,) = set(re.findall(r"--stop-timeout (\d+)", document))
    assert int(timeout) > up_budget_s(Settings().shutdown_wait)


def test_a_process_that_was_told_to_ignore_a_closed_terminal_does() -> None:
    assert signal.SIGHUP in stop_signals()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_signals() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)
