"""Neither API nor worker loads what few installations need. Other packages can still load it."""

import subprocess
import sys

import pytest

UNUSED = (
    "redis.cluster",
    "redis.asyncio.cluster",
    "jwt",
    "everpost_workers.cells.cell",
    "everpost_workers.cells.frames",
    "everpost.store.moving",
    "prometheus_client",
    "jinja2",
    "markupsafe",
    "everpost.api.console.frame",
)
PROGRAMS = {"everpost.app, everpost.cli": UNUSED, "everpost_workers.__main__": (*UNUSED, "html.entities")}
LATER = """
import everpost.queue, redis, redis.asyncio
assert not hasattr(redis, "Nothing") and not hasattr(redis.asyncio, "Nothing")
first, second = redis.RedisCluster, redis.asyncio.RedisCluster
from redis.asyncio.cluster import RedisCluster
from redis.cluster import RedisCluster as Blocking
assert (first, second) == (Blocking, RedisCluster)
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(("modules", "unused"), PROGRAMS.items())
def test_a_program_does_not_load_what_few_installations_need(modules: str, unused: tuple[str, ...]) -> None:
    assert run(f"import sys, {modules}; print({{*sys.modules}}.intersection({unused!r}))").strip() == "set()"


def test_the_clients_of_a_redis_cluster_are_loaded_when_another_package_asks_for_them() -> None:
    assert run(LATER) == ""
