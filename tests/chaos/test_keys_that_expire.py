"""A platform that forgets keys, a worker killed while it sends, and an emptied Redis."""

import time
from pathlib import Path

import msgspec
import pytest

from chaos_kit.effects_worker import Effect, hold_of
from chaos_kit.processes import Worker
from everpost.publishing import PublisherClass
from everpost.testing import eventually, everpost_stack

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("both_stores")]


@pytest.mark.parametrize(("lifetime_s", "status", "calls"), [(2.0, "unknown", 1), (600.0, "success", 2)])
async def test_after_a_kill_mid_send_and_a_flushall_a_key_is_used_again_only_within_its_life(
    tmp_path: Path, lifetime_s: float, status: str, calls: int
) -> None:
    effects = tmp_path / "effects"
    effects.touch()
    async with everpost_stack(workers=0, folder=tmp_path / "stack") as stack:
        settings = {
            "EVERPOST_DATABASE": stack.settings.database_address,
            "EVERPOST_DATA": str(stack.settings.data),
            "EVERPOST_REDIS": stack.valkey.address,
            "EVERPOST_LEASE": "2",
            "EVERPOST_LOG_FORMAT": "json",
            "KEY_LIFETIME_S": str(lifetime_s),
        }
        worker = Worker(
            "worker",
            folder=tmp_path,
            settings=settings,
            effects=effects,
            publisher_class=PublisherClass.KEYED,
            delay_ms=0,
        )
        hold_of(effects).touch()
        await worker.start()
        task_id = await stack.publish()

        async def is_sent() -> bool:
            return bool(effects.read_bytes())

        await eventually(is_sent, what="the post")
        over_at = time.monotonic() + 2.1
        worker.kill()
        await stack.queue.redis.flushall()
        hold_of(effects).unlink()

        async def is_over() -> bool:
            return time.monotonic() > over_at

        await eventually(is_over, what="the end of the shorter life")
        await worker.start()
        task = await stack.wait_until_ended(task_id)
        await worker.stop()
    assert task["status"] == status
    sent = [msgspec.json.decode(line, type=Effect) for line in effects.read_bytes().splitlines()]
    assert [effect.task_id for effect in sent] == [task_id] * calls
    assert len({effect.key for effect in sent}) == 1
