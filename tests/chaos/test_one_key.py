"""One Idempotency-Key, many clients, two API processes, and a crash between the commit and the answer: done once."""

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaos_kit.load import HANG_S, body_of
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

CLIENTS = 50
ITEMS = 5
ROUTES = pytest.mark.parametrize("route", [pytest.param("publish", marks=pytest.mark.chaos), "publish/batch"])


def make_body(scene: Scene, route: str) -> Any:
    """One post, or some, that `scene` knows of."""
    for number in range(ITEMS if route == "publish/batch" else 1):
        scene.load.posted[f"one-{number}"] = body_of(f"one-{number}", scene.chance)
    posts = list(scene.load.posted.values())
    return posts if route == "publish/batch" else posts[0]


def ids_of(answer: httpx.Response) -> list[str]:
    found = answer.json()
    return [result["task_id"] for result in found.get("results", [found])]


async def finish(scene: Scene, answer: httpx.Response) -> None:
    """Each post is one task, which was sent once."""
    scene.load.acked |= dict(zip(ids_of(answer), scene.load.posted, strict=True))
    verdict = await scene.finish()
    assert verdict.is_good, verdict
    facts = await scene.facts()
    assert sorted(row.task_id for row in facts.rows) == sorted(ids_of(answer))
    assert Counter(effect.task_id for effect in facts.effects) == Counter(ids_of(answer))


@ROUTES
async def test_fifty_clients_with_one_key_on_two_apis_are_one_request(tmp_path: Path, route: str) -> None:
    scene = Scene(tmp_path, seed=6, publisher_class=PublisherClass.NONE, apis=2, workers=1, delay_ms=4)
    async with playing(scene), httpx.AsyncClient(timeout=HANG_S, headers={"idempotency-key": '"one"'}) as client:
        body = make_body(scene, route)
        addresses = scene.addresses()
        assert len(addresses) == 2

        async def post(number: int) -> httpx.Response:
            url = f"{addresses[number % 2]}/api/v1/{route}"
            while (answer := await client.post(url, json=body)).status_code == 409:
                assert answer.json()["code"] == "idempotency_key_in_use"
            return answer

        answers = await asyncio.gather(*map(post, range(CLIENTS)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.text for answer in answers}) == 1
        await finish(scene, answers[0])


@ROUTES
async def test_a_request_whose_answer_died_with_the_api_is_answered_when_it_comes_again(
    tmp_path: Path, route: str
) -> None:
    scene = Scene(tmp_path, seed=7, publisher_class=PublisherClass.NONE, apis=2, workers=1, delay_ms=4)
    async with playing(scene), httpx.AsyncClient(timeout=HANG_S, headers={"idempotency-key": '"one"'}) as client:
        body = make_body(scene, route)
        first, second = scene.apis
        first.arm("commit.after")
        with suppress(httpx.TransportError):
            answer = await client.post(f"{first.address}/api/v1/{route}", json=body)
            pytest.fail(f"answered: {answer.text}")
        answers = [await client.post(f"{second.address}/api/v1/{route}", json=body) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert answers[0].text == answers[1].text
        await finish(scene, answers[0])
