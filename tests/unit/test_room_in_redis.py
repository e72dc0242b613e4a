"""How much memory Redis may take, and how much of it results may."""

import pytest

from everpost.cli.queue_checkup import memory_finding
from everpost.embedded import LEAST_MEMORY_BYTES, MOST_MEMORY_BYTES, max_memory_bytes
from everpost.queue.redis_server import RedisMemory
from everpost_workers.upkeep.memory import wanted_bytes

GB = 2**30


@pytest.mark.parametrize(
    ("machine_bytes", "max_bytes"),
    [(0, LEAST_MEMORY_BYTES), (2 * GB, GB // 2), (64 * GB, MOST_MEMORY_BYTES)],
)
def test_an_embedded_server_takes_a_quarter_of_the_memory(machine_bytes: int, max_bytes: int) -> None:
    assert max_memory_bytes(machine_bytes) == max_bytes


@pytest.mark.parametrize(
    ("used", "limit", "results", "most", "wanted"),
    [
        (100, 0, 50, 80, 50),  # nothing to do
        (100, 0, 90, 80, 80),  # more than they may take
        (70, 100, 40, 80, 40),
        (80, 100, 40, 80, 35),  # five too many for Redis
        (90, 100, 10, 80, 0),  # it is not the results that fill it
    ],
)
def test_results_stay_within_their_limit_and_make_room(
    used: int, limit: int, results: int, most: int, wanted: int
) -> None:
    assert wanted_bytes(RedisMemory(used_bytes=used, max_bytes=limit), results, most) == wanted


@pytest.mark.parametrize(
    ("used", "limit", "told", "ok"),
    [
        (GB // 2, 0, "no maxmemory", True),
        (GB // 2, GB, "(50%)", True),
        (GB * 9 // 10, GB, "(90%)", False),
    ],
)
def test_doctor_tells_how_full_redis_is(used: int, limit: int, told: str, ok: bool) -> None:
    finding = memory_finding(RedisMemory(used_bytes=used, max_bytes=limit))
    assert told in finding.value
    assert (finding.ok, bool(finding.advice)) == (ok, not ok)
