"""A disk that does not answer: only callers whose write it already has wait, and work continues when it answers."""

from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from chaos_kit.duress import failing
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass
from everpost.testing import eventually

BODY = {"platform": 1, "account_id": "a"}
SILENT_FOR = "6s"
ANSWER_S = 3.0  # two of patience, and what the machine takes


@pytest.mark.chaos
async def test_while_the_disk_does_not_answer_other_requests_are_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path, seed=9, publisher_class=PublisherClass.KEYED)
    (api,) = scene.apis
    async with playing(scene), httpx.AsyncClient(base_url=scene.addresses()[0], timeout=30) as client:
        scene.load.start()
        await scene.load.more(20)
        async with failing(api, scene.log_of_database, "fsync,fdatasync", f"delay_enter={SILENT_FOR}"):

            async def is_refused() -> httpx.Response | None:
                answer = await client.post("/api/v1/publish", json=BODY)
                return answer if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE else None

            refusal = await eventually(is_refused, what="a refusal")
            assert refusal is not None
            assert "has not answered for 2 s" in refusal.json()["detail"]
            assert "retry-after" in refusal.headers
            refusals = [await client.post("/api/v1/publish", json=BODY) for _ in range(5)]
            assert max(answer.elapsed.total_seconds() for answer in refusals) < ANSWER_S
            ready = await client.get("/health/ready")
            assert ready.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        await scene.load.more(50)
        verdict = await scene.finish()
        assert verdict.lost == verdict.duplicated == []
