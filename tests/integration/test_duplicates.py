"""The duplicate guard over HTTP: single posts, batches, streams, fan-outs; other platforms pay nothing for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from everpost.publishing import InvalidError
from everpost.testing import Stack, everpost_stack

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

POST: dict[str, Any] = {"platform": "douyin", "account_id": "shop", "title": "同"}
API = "/api/v1/publish"


@asynccontextmanager
async def guarded_stack(folder: Path) -> AsyncIterator[Stack]:
    """A stack whose platform `douyin` has the guard."""
    platforms = folder / "platforms.toml"
    platforms.write_text("[platforms.douyin]\nduplicate_window_s = 3600\n")
    async with everpost_stack(platforms=platforms) as stack:
        yield stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with guarded_stack(tmp_path) as stack:
        yield stack


async def post(stack: Stack, key: str | None = None, **fields: Any) -> tuple[int, dict[str, Any]]:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = await stack.client.post(API, json={**POST, **fields}, headers=headers)
    return answer.status_code, answer.json()


async def test_the_same_content_is_refused_with_the_earlier_task(stack: Stack) -> None:
    code, first = await post(stack)
    assert code == 202
    code, problem = await post(stack, priority=1)
    assert (code, problem["code"], problem["task_id"]) == (409, "duplicate_post", first["task_id"])
    assert (await post(stack, allow_duplicate=True))[0] == 202
    assert (await post(stack, title="不同"))[0] == 202
    assert (await post(stack, platform="kuaishou"))[0] == 202
    assert (await post(stack, platform="kuaishou"))[0] == 202


async def test_a_failed_post_may_be_posted_again(stack: Stack) -> None:
    stack.publisher.fail_next(InvalidError("no"))
    _, first = await post(stack)
    await stack.wait_until_ended(first["task_id"])
    assert (await post(stack))[0] == 202
    assert (await post(stack))[0] == 409


async def test_a_repeated_key_gets_its_answer_and_a_refusal_keeps_no_key(stack: Stack) -> None:
    first = await post(stack, key="a")
    assert await post(stack, key="a") == first
    assert (await post(stack, key="b"))[0] == 409
    assert (await post(stack, key="b", title="x"))[0] == 202


async def test_of_simultaneous_duplicates_exactly_one_is_accepted(stack: Stack) -> None:
    answers = await asyncio.gather(*(post(stack, key=None if number % 2 else f"{number}") for number in range(16)))
    accepted = [answer for code, answer in answers if code == 202]
    refused = [answer for code, answer in answers if code == 409]
    assert (len(accepted), len(refused)) == (1, 15)
    assert {answer["task_id"] for answer in refused} == {accepted[0]["task_id"]}


async def test_duplicates_in_a_batch_are_named_and_the_others_accepted(stack: Stack) -> None:
    _, first = await post(stack)
    items = [POST, {**POST, "title": "new"}, {**POST, "title": "new"}, {"platform": "kuaishou", "account_id": "x"}]
    answer = await stack.client.post(f"{API}/batch", json=items, headers={"Idempotency-Key": "k"})
    batch = answer.json()
    assert (answer.status_code, batch["accepted"], batch["rejected"]) == (202, 2, 2)
    results = batch["results"]
    assert [result.get("code") for result in results] == ["duplicate_post", None, "duplicate_post", None]
    assert [result.get("earlier_task_id") for result in results] == [
        first["task_id"], None, results[1]["task_id"], None,
    ]  # fmt: skip
    again = await stack.client.post(f"{API}/batch", json=items, headers={"Idempotency-Key": "k"})
    assert again.json() == batch
    assert (await stack.client.post(f"{API}/batch", json=items[:3])).status_code == 422


async def test_duplicates_in_a_stream_are_named(stack: Stack) -> None:
    lines = b"\n".join(msgspec.json.encode(item) for item in (POST, POST, {**POST, "title": "new"}))
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await stack.client.post(f"{API}/batch", content=lines, headers=headers)
    first, second, third, last = [msgspec.json.decode(line) for line in answer.text.splitlines()]
    assert (first["success"], third["success"], last["accepted"], last["rejected"]) == (True, True, 2, 1)
    assert (second["code"], second["earlier_task_id"]) == ("duplicate_post", first["task_id"])


async def test_duplicates_in_a_fan_out_are_rejected_accounts(stack: Stack) -> None:
    _, first = await post(stack)
    accounts = [{"platform": "douyin", "account_id": name} for name in ("shop", "other", "other")]
    body = {"content": {"title": "同"}, "accounts": accounts}
    answer = (await stack.client.post(f"{API}/fanout", json=body)).json()
    assert (answer["accepted"], answer["rejected"]) == (1, 2)
    shown = (await stack.client.get(f"{API}/fanout/{answer['fanout_id']}")).json()["data"]
    assert [account["status"] == "rejected" for account in shown["accounts"]] == [True, False, True]
    assert shown["accounts"][0]["earlier_task_id"] == first["task_id"]
    assert shown["accounts"][2]["earlier_task_id"] == shown["accounts"][1]["task_id"]
    again = await stack.client.post(f"{API}/fanout", json=body)
    assert (again.status_code, again.json()["accepted"]) == (422, 0)


async def test_the_same_content_may_be_scheduled_for_times_far_apart(stack: Stack) -> None:
    assert (await post(stack, schedule_time="2030-01-01T00:00:00Z"))[0] == 202
    assert (await post(stack, schedule_time="2030-01-01T00:30:00Z"))[0] == 409
    assert (await post(stack, schedule_time="2030-01-01T02:00:00Z"))[0] == 202
    assert (await post(stack))[0] == 202
