"""The dashboard and the alert rules ask for metrics that there are, with labels that they have."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from everpost.testing import Stack, eventually

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "everpost.json").read_text("utf-8"))
PROMETHEUS = ROOT / "deploy" / "prometheus"
OBSERVABILITY = (ROOT / "docs" / "observability.md").read_text("utf-8")
METRICS = (ROOT / "docs" / "metrics.md").read_text("utf-8")
NAME = re.compile(r"\beverpost_[a-z_]+")
LABELS = re.compile(r"\b(everpost_[a-z_]+)\{([^}]*)\}")
SUFFIX = re.compile(r"_(bucket|sum|count)$")
OF_ALL = {"instance", "job", "le"}


def panels(found: Any = DASHBOARD) -> Iterator[dict[str, Any]]:
    for panel in found.get("panels", ()):
        yield panel
        yield from panels(panel)


def queries() -> list[str]:
    shown = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    rules = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
    asked = [variable["definition"] for variable in DASHBOARD["templating"]["list"] if "definition" in variable]
    return [*shown, *(rule["expr"] for rule in rules), *asked]


def documented() -> dict[str, set[str]]:
    """The metrics of docs/metrics.md, which another test compares with the code, and their labels."""
    found = {}
    for line in METRICS.splitlines():
        if line.startswith("| `everpost_"):
            names, labels = line.split(" | ")[:2]
            for name in NAME.findall(names):
                found[name] = set(re.findall(r"`(\w+)`", labels))
    return found


async def test_each_metric_is_in_the_exposition_of_a_stack(everpost: Stack) -> None:
    await everpost.publish()
    await everpost.drain()
    sent = {
        "everpost_tasks_ended_total",
        *(f"everpost_{name}_seconds_bucket" for name in ("queue_wait", "publish_duration")),
    }

    async def exposition() -> set[str] | None:
        names = set(NAME.findall((await everpost.client.get("/metrics")).text))
        return names if sent <= names else None  # workers send theirs every second

    exposed = await eventually(exposition) or set()
    missing = {name for query in queries() for name in NAME.findall(query)} - exposed
    assert missing <= {"everpost_accounts", "everpost_parked_tasks", "everpost_http_request_duration_seconds_bucket"}
    assert {SUFFIX.sub("", name) for name in missing} <= documented().keys()


def test_each_metric_has_the_labels_that_are_asked_for() -> None:
    known = documented()
    assert queries()
    for query in queries():
        for name, matchers in LABELS.findall(query):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", matchers))
            assert labels <= known[SUFFIX.sub("", name)] | OF_ALL, query


def test_panels_do_not_cover_each_other_and_each_has_a_title_of_its_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)
    assert len({panel["id"] for panel in panels()}) == len(titles)


def test_every_alert_is_documented_with_its_severity_and_has_a_test() -> None:
    rules = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
    told = dict(re.findall(r"^\| `(Everpost\w+)` \| (\w+) \|", OBSERVABILITY, flags=re.MULTILINE))
    assert told == {rule["alert"]: rule["labels"]["severity"] for rule in rules}
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text("utf-8"))["tests"]
    expected = {one["alertname"] for test in tests for one in test["alert_rule_test"] if "exp_alerts" in one}
    assert expected == told.keys()


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt install prometheus)"
)
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml"), ("check", "config", "prometheus.yaml")],
)
def test_promtool_finds_no_fault(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
