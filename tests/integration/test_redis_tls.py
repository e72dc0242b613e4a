"""Redis behind TLS: every connection of API and worker speaks it, and checks whom it speaks to."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chaos_kit.proxy import Proxy
from chaos_kit.sentinels import Node, free_ports, local_place
from everpost.embedded import EmbeddedValkey
from everpost.publishing import PermanentError
from everpost.task.place import Place
from everpost.testing import eventually, everpost_stack
from store_kit import kit_of

SENTINEL = """
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel monitor post localhost {port} 1
sentinel down-after-milliseconds post 3600000
"""
"""The bundled server has no TLS of its own, so this Sentinel cannot reach the master, and must not mind for long."""


@pytest.fixture
async def proxy(tmp_path: Path, certificate: ssl.SSLContext) -> AsyncIterator[Proxy]:
    valkey = await EmbeddedValkey(tmp_path / "valkey").start()
    async with Proxy(valkey.socket, tls=certificate).serving() as proxy:
        yield proxy
    await valkey.stop()


async def test_a_task_goes_all_its_way_and_back_over_tls(proxy: Proxy) -> None:
    async with everpost_stack(redis=proxy.address) as stack:
        stack.publisher.fail_next(PermanentError("no"))
        task_id = await stack.publish(title="t")
        assert (await stack.wait_until_ended(task_id))["status"] == "failed"
        answer = (await stack.post_retry(task_id)).json()
        assert answer["source"] == "redis"
        assert (await stack.wait_until_ended(answer["new_task_id"]))["status"] == "success"
        assert stack.publisher.times_published(answer["new_task_id"]) == 1


async def test_a_task_goes_all_its_way_over_tls_that_sentinels_speak_too(
    tmp_path: Path, proxy: Proxy, certificate: ssl.SSLContext
) -> None:
    port = proxy.address.partition("localhost:")[2].partition("/")[0]
    configuration = SENTINEL.format(port=port)
    sentinel = Node(tmp_path / "sentinel", local_place(free_ports(1)[0]), configuration, "--sentinel", password="")
    await sentinel.start()
    async with Proxy(sentinel.socket, tls=certificate).serving() as of_sentinel:
        address = of_sentinel.address.replace("rediss://", "rediss+sentinel://").replace("/0", "/post/0")
        async with everpost_stack(redis=address) as stack:
            assert (await stack.wait_until_ended(await stack.publish(title="t")))["status"] == "success"
            assert [opinion.is_up for opinion in await stack.queue.server.opinions()] == [True]
    await sentinel.close()


async def test_leases_are_renewed_over_tls(proxy: Proxy) -> None:
    async with everpost_stack(redis=proxy.address) as stack:
        redis = stack.app.state.services.queue.redis
        lives_ms, tokens = [0], set()

        async def renewed() -> bool:
            tokens.add(await redis.get(lease))
            lives_ms.append(await redis.pttl(lease))
            return 0 < lives_ms[-2] < lives_ms[-1]

        stack.publisher.hold()
        lease = f"arq:in-progress:{await stack.publish(title='t')}"
        await eventually(renewed, what="a renewed lease")
        assert len(tokens - {None}) == 1  # none ran out, to be claimed anew
        stack.publisher.release()


async def test_a_server_of_another_name_is_sent_nothing_and_tasks_wait_in_the_ledger(proxy: Proxy) -> None:
    async with everpost_stack(redis=proxy.address.replace("localhost", "127.0.0.1"), workers=0) as stack:
        await stack.publish(title="t")
        checks = (await stack.client.get("/health/ready")).json()["checks"]
        assert [check["ok"] for check in checks if check["name"] == "redis"] == [False]
        assert [(task.place, task.title) for task in kit_of(stack.settings).tasks()] == [(Place.LEDGER, "t")]
