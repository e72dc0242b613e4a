"""What tests of `everpost doctor` and of readiness share."""

from collections.abc import Callable
from typing import Any

from everpost.cli.queue_checkup import check_redis
from everpost.clock import system_clock
from everpost.findings import Finding
from everpost.testing import Stack

LATER_MS = 60_000


def later_clock() -> int:
    return system_clock() + LATER_MS


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


async def redis_findings(stack: Stack, clock: Callable[[], int] | None = None) -> dict[str, Finding]:
    return by_name(await check_redis(stack.settings, None, clock))


async def checks(stack: Stack) -> dict[str, Any]:
    answer = await stack.client.get("/health/ready")
    return {check["name"]: check for check in answer.json()["checks"]}
