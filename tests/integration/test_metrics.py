"""/metrics for tasks that were really accepted, run and ended, even if other programs write to Redis."""

import asyncio
import re
import shutil
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from everpost.metrics import ACCEPTED, written_field
from everpost.publishing import InvalidError, TransientError
from everpost.queue.keys import METRICS_KEY
from everpost.testing import Stack, eventually

Samples = dict[tuple[str, ...], float]

ROOT = Path(__file__).parents[2]
DEPLOY_PAGE = ROOT / "docs" / "deploy.md"
WORKERS = ROOT / "deploy" / "kubernetes" / "worker.yaml"


async def scrape(stack: Stack) -> Samples:
    """Every sample by its name and the values of its labels, these in the order of the labels' names."""
    text = (await stack.client.get("/metrics")).text
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scrape_until(stack: Stack, *sample: str, value: float = 1) -> Samples:
    """The samples once one of them has come to `value`: workers send theirs every second."""

    async def found() -> Samples | None:
        samples = await scrape(stack)
        return samples if samples.get(sample) == value else None

    return await eventually(found, what=f"{sample} == {value}") or {}


async def test_a_post_is_counted_from_its_acceptance_to_its_end(everpost: Stack) -> None:
    await everpost.wait_until_ended(await everpost.publish(platform="douyin", priority=2))
    samples = await scrape_until(everpost, "everpost_tasks_ended_total", "", "douyin", "success")
    assert samples["everpost_tasks_accepted_total", "douyin"] == 1
    assert samples["everpost_attempts_total", "", "success", "douyin"] == 1
    assert samples["everpost_queue_wait_seconds_count", "2"] == 1
    assert samples["everpost_publish_duration_seconds_count", "douyin"] == 1
    assert samples["everpost_publish_duration_seconds_bucket", "+Inf", "douyin"] == 1


async def test_every_attempt_is_counted_and_the_end_once(everpost: Stack) -> None:
    everpost.publisher.fail_next(TransientError("busy"), InvalidError("no such account"))
    await everpost.wait_until_ended(await everpost.publish(platform="douyin"))
    samples = await scrape_until(everpost, "everpost_tasks_ended_total", "invalid", "douyin", "failed")
    assert samples["everpost_attempts_total", "transient", "retry", "douyin"] == 1
    assert samples["everpost_attempts_total", "invalid", "failed", "douyin"] == 1
    assert samples["everpost_publish_duration_seconds_count", "douyin"] == 2


async def test_archiving_shrinks_no_counter(everpost: Stack) -> None:
    task_id = await everpost.publish(platform="douyin")
    await everpost.wait_until_ended(task_id)
    await scrape_until(everpost, "everpost_tasks_ended_total", "", "douyin", "success")
    await everpost.client.delete(f"/api/v1/tasks/{task_id}")
    samples = await scrape(everpost)
    assert samples.get(("everpost_tasks", "douyin", "success"), 0) == 0
    assert samples["everpost_tasks_ended_total", "", "douyin", "success"] == 1


async def test_a_retry_counts_as_accepted(everpost: Stack) -> None:
    task_id = await everpost.publish(platform="douyin")
    await everpost.wait_until_ended(task_id)
    answer = await everpost.client.post(f"/api/v1/tasks/retry/{task_id}?force=true")
    assert answer.status_code == 200
    assert (await scrape(everpost))["everpost_tasks_accepted_total", "douyin"] == 2


async def test_the_autoscaler_of_workers_asks_for_a_metric_that_exists(everpost: Stack) -> None:
    (shown,) = re.findall(r"```yaml\n(externalRules.*?)```", DEPLOY_PAGE.read_text("utf-8"), re.DOTALL)
    (rule,) = yaml.safe_load(shown)["externalRules"]
    (asked,) = re.findall(r"type: External\n.*\n\s+metric: { name: (\w+) }", WORKERS.read_text("utf-8"))
    assert rule["name"]["as"] == asked
    await everpost.wait_until_ended(await everpost.publish(priority=2))
    samples = await scrape_until(everpost, "everpost_queue_wait_seconds_count", "2")
    assert (rule["seriesQuery"], "+Inf", "2") in samples  # it is summed by its first label, `le`
    assert "<<.Series>>" in rule["metricsQuery"]


async def test_the_running_versions_are_shown(everpost: Stack) -> None:
    await everpost.wait_until_ended(await everpost.publish())
    text = (await everpost.client.get("/metrics")).text
    assert 'everpost_build_info{process="api",' in text
    assert 'everpost_build_info{process="worker",' in text


@pytest.mark.parametrize("poison", ["a string", "no number", "a huge number", "ten thousand fields"])
async def test_foreign_values_in_place_of_the_numbers_are_overwritten(everpost: Stack, poison: str) -> None:
    redis = Redis.from_url(everpost.settings.redis_address)
    field = written_field((ACCEPTED.name, "douyin"))
    if poison == "a string":
        await redis.set(METRICS_KEY, "x")
    elif poison == "ten thousand fields":
        await redis.hset(METRICS_KEY, mapping={str(number): "x" for number in range(10_001)})
        assert (await everpost.client.get("/metrics")).status_code == 200
        await redis.delete(METRICS_KEY)
    else:
        await redis.hset(METRICS_KEY, field, "x" if poison == "no number" else str(2**63 - 1))
    await redis.aclose()
    await everpost.publish(platform="douyin")
    assert (await scrape(everpost))["everpost_tasks_accepted_total", "douyin"] == 1


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt install prometheus)"
)
async def test_promtool_finds_nothing_to_complain_of(everpost: Stack) -> None:
    await everpost.wait_until_ended(await everpost.publish())
    page = (await everpost.client.get("/metrics")).content
    promtool = await asyncio.create_subprocess_exec(
        *("promtool", "check", "metrics"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await promtool.communicate(page)
    assert (promtool.returncode, said) == (0, b"")
