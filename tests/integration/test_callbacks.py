"""Callbacks over HTTP: the signed message, its repetitions, the log, redelivery, and which addresses are taken."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook

from callback_receiver import CallbackReceiver
from everpost.publishing import InvalidError, OutcomeUnknownError
from everpost.task.model import Task
from everpost.testing import Stack, eventually, everpost_stack
from everpost.testing.stack import ApiRefusal

pytestmark = pytest.mark.usefixtures("both_stores_in_chaos")

NEW, OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OPTIONS = """
[platforms.callback]
backoff_base_s = 0.01
max_attempts = {attempts}
[platforms.callback.options]
allow_http = true
allow_private = true
timeout_s = {timeout_s}
"""


class Message(msgspec.Struct):
    """A request that came to the receiver."""

    headers: dict[str, str]
    body: bytes
    path: str = ""

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = msgspec.json.decode(self.body)
        return event


class Receiver(CallbackReceiver):
    """An HTTP server that keeps messages and gives the configured answers; `answer` may cut the connection with b""."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.answer: Callable[[Message], bytes] = lambda _: answer_with(204)

    async def receive(self, first_line: str, headers: dict[str, str], body: bytes) -> bytes:
        message = Message(headers, body, first_line)
        self.messages.append(message)
        await self.answers.wait()
        return self.answer(message)

    async def wait_for(self, *webhook_ids: str) -> list[Message]:
        """The messages, once each of these has come."""

        async def are_there() -> bool:
            return set(webhook_ids) <= {one.webhook_id for one in self.messages}

        await eventually(are_there, what=f"callbacks {webhook_ids}")
        return [one for one in self.messages if one.webhook_id in webhook_ids]


def answer_with(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} x", "Content-Length: 0", *headers, "", ""]).encode()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serve() as receiver:
        yield receiver


@contextlib.asynccontextmanager
async def calling(folder: Path, *, attempts: int = 4, timeout_s: float = 2, **settings: Any) -> AsyncIterator[Stack]:
    """A stack that may call back to this host."""
    platforms = folder / "platforms.toml"
    platforms.write_text(OPTIONS.format(attempts=attempts, timeout_s=timeout_s))
    async with everpost_stack(platforms=platforms, **{"callback_secret": f"{NEW} {OLD}", **settings}) as stack:
        yield stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with calling(tmp_path) as stack:
        yield stack


async def log_of(stack: Stack, about: str) -> list[dict[str, Any]]:
    answer = await stack.client.get("/api/v1/callbacks", params={"about": about})
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def delivered(stack: Stack, about: str, count: int = 1) -> list[dict[str, Any]]:
    """The log, once so many deliveries are done."""

    async def are_done() -> bool:
        return bool(sum(one["status"] == "success" for one in await log_of(stack, about)) >= count)

    await eventually(are_done, what="the deliveries to be recorded")
    return await log_of(stack, about)


async def test_an_end_is_told_by_a_message_that_all_secrets_sign(stack: Stack, receiver: Receiver) -> None:
    task_id = await stack.publish(title="测试", callback_url=receiver.url)
    (message,) = await receiver.wait_for(f"{task_id}.success")
    for secret in (NEW, OLD):
        assert Webhook(secret).verify(message.body, message.headers) == message.event
    assert (message.event["type"], message.event["data"]["task_id"], message.event["data"]["title"]) == (
        "task.success",
        task_id,
        "测试",
    )
    assert message.headers["content-type"] == "application/json"
    (log,) = await delivered(stack, task_id)
    assert (log["type"], log["webhook_id"], log["url"]) == ("task.success", f"{task_id}.success", receiver.url)
    assert [attempt["outcome"] for attempt in log["attempts"]] == ["success"]
    assert (await stack.task(task_id))["task_data"]["callback_url"] == receiver.url


async def test_a_message_is_repeated_with_its_id_and_body_until_it_is_taken(stack: Stack, receiver: Receiver) -> None:
    answers = iter([b"", answer_with(500), answer_with(404)])
    receiver.answer = lambda _: next(answers, answer_with(200))
    task_id = await stack.publish(callback_url=receiver.url)
    (log,) = await delivered(stack, task_id)
    messages = await receiver.wait_for(f"{task_id}.success")
    assert {(message.webhook_id, message.body) for message in messages} == {(f"{task_id}.success", messages[0].body)}
    assert len(messages) == 4
    assert [attempt["outcome"] for attempt in log["attempts"]] == ["retry", "retry", "retry", "success"]
    assert [message.headers["everpost-attempt"] for message in messages] == ["1", "2", "3", "4"]
    for message in messages:
        Webhook(NEW).verify(message.body, message.headers)


async def test_a_callback_that_is_given_up_is_listed_and_redelivered(stack: Stack, receiver: Receiver) -> None:
    receiver.answer = lambda _: answer_with(410)
    task_id = await stack.publish(callback_url=receiver.url)

    async def is_given_up() -> bool:
        return [one["status"] for one in await log_of(stack, task_id)] == ["failed"]

    await eventually(is_given_up, what="the callback to be given up")
    listed = (await stack.client.get("/api/v1/tasks", params={"platform": "callback", "status": "failed"})).json()
    assert [row["task_id"] for row in listed["data"]] == [f"{task_id}.success.callback"]
    assert len(receiver.messages) == 1
    receiver.answer = lambda _: answer_with(200)
    for _ in range(2):  # also one that was delivered
        answer = await stack.client.post(f"/api/v1/callbacks/{task_id}.success.callback/redeliver")
        assert answer.status_code == 200, answer.text
        await stack.wait_until_ended(answer.json()["callback_id"])
    first, second, third = await delivered(stack, task_id, 2)
    assert (second["redelivery_of"], third["redelivery_of"]) == (first["callback_id"], first["callback_id"])
    assert len({(message.webhook_id, message.body) for message in receiver.messages}) == 1
    assert len(receiver.messages) == 3
    assert (await stack.client.get("/api/v1/tasks")).json()["total"] == 1


async def test_every_kind_of_end_is_told(stack: Stack, receiver: Receiver) -> None:
    stack.publisher.fail_next(InvalidError("no"))
    failed = await stack.publish(callback_url=receiver.url)
    await stack.wait_until_ended(failed)
    stack.publisher.fail_next(OutcomeUnknownError("lost"))
    unknown = await stack.publish(callback_url=receiver.url)
    await stack.wait_until_ended(unknown)
    resolved = await stack.client.post(
        f"/api/v1/tasks/{unknown}/resolve", json={"decision": "succeeded", "by": "mei", "why": "it is there"}
    )
    assert resolved.status_code == 200, resolved.text
    later = {"callback_url": receiver.url, "schedule_time": "2030-01-01T00:00:00Z"}
    cancelled, replaced = await stack.publish(**later), await stack.publish(**later)
    await stack.client.post(f"/api/v1/tasks/cancel/{cancelled}")
    new = (await stack.post_retry(replaced, data={"schedule_time": None})).json()["new_task_id"]
    await receiver.wait_for(
        f"{failed}.failed",
        f"{unknown}.unknown",
        f"{unknown}.success",
        f"{cancelled}.cancelled",
        f"{replaced}.cancelled",
        f"{new}.success",
    )
    assert len({message.webhook_id for message in receiver.messages}) == 6


async def test_a_fan_out_and_a_batch_are_told_when_all_has_ended(stack: Stack, receiver: Receiver) -> None:
    stack.publisher.fail_next(InvalidError("no"))
    accounts = [{"platform": 1, "account_id": name} for name in ("x", "y")]
    body = {"content": {"title": "t"}, "accounts": [*accounts, {"platform": 1}], "callback_url": receiver.url}
    fanout_id = (await stack.client.post("/api/v1/publish/fanout", json=body)).json()["fanout_id"]
    (message,) = await receiver.wait_for(f"{fanout_id}.1")
    assert message.event["type"] == "fanout.partial"
    assert message.event["data"]["counts"] == {"success": 1, "failed": 1}
    assert (message.event["data"]["total"], message.event["data"]["rejected"]) == (3, 1)
    assert (await stack.client.post(f"/api/v1/publish/fanout/{fanout_id}/retry")).json()["success_count"] == 1
    (message,) = await receiver.wait_for(f"{fanout_id}.2")
    assert message.event["data"]["counts"] == {"success": 2}
    assert [one["type"] for one in await delivered(stack, fanout_id, 2)] == ["fanout.partial", "fanout.partial"]

    batch = {"tasks": [*accounts, {**accounts[0], "callback_url": receiver.url + "&own"}], "callback_url": receiver.url}
    answer = (await stack.client.post("/api/v1/publish/batch", json=batch)).json()
    (message,) = await receiver.wait_for(f"{answer['batch_id']}.1")
    assert (message.event["type"], message.event["data"]["counts"]) == ("batch.success", {"success": 3})
    await receiver.wait_for(*(f"{result['task_id']}.success" for result in answer["results"]))


async def test_a_batch_with_a_key_and_a_callback_is_made_once(stack: Stack, receiver: Receiver) -> None:
    batch = {"tasks": [{"platform": 1, "account_id": "x"}], "callback_url": receiver.url}
    headers = {"Idempotency-Key": "k"}
    answers = [(await stack.client.post("/api/v1/publish/batch", json=batch, headers=headers)).json() for _ in "ab"]
    assert answers[0] == answers[1]
    await delivered(stack, answers[0]["batch_id"])
    assert len({message.webhook_id for message in receiver.messages}) == 2


async def test_a_callback_outlives_an_emptied_redis(stack: Stack, receiver: Receiver) -> None:
    receiver.answer = lambda _: answer_with(429, "Retry-After: 1")
    task_id = await stack.publish(callback_url=receiver.url)
    await receiver.wait_for(f"{task_id}.success")
    receiver.answer = lambda _: answer_with(200)
    await stack.flush_redis()
    (log,) = await delivered(stack, task_id)
    assert log["status"] == "success"


ADDRESSES = (
    "http://example.com/",
    "https://127.0.0.1/",
    "https://[::1]:8443/",
    "https://169.254.169.254/latest",
    "https://localhost/",
    "https://user:password@example.com/",
    "ftp://example.com/",
    "https:///nowhere",
    "https://example.com:99999/",
    "https://exa mple.com/",
    "https://example.com/\n",
    "https://[::1/",
    "",
    "https://example.com/" + "x" * 2_048,
)
"""To which no callback can go."""


async def test_an_address_that_no_callback_can_go_to_is_refused() -> None:
    async with everpost_stack(callback_secret=NEW, workers=0) as stack:
        for url in ADDRESSES:
            item = {"platform": 1, "account_id": "x"}
            bodies: dict[str, Any] = {
                "publish": {**item, "callback_url": url},
                "publish/fanout": {"content": {}, "accounts": [item], "callback_url": url},
                "publish/batch": {"tasks": [item], "callback_url": url},
            }
            for path, body in bodies.items():
                answer = await stack.client.post(f"/api/v1/{path}", json=body)
                assert (answer.status_code, answer.json()["path"]) == (422, "$.callback_url"), (path, url)
        assert (await stack.client.get("/api/v1/tasks")).json()["total"] == 0


async def test_without_a_secret_no_task_has_a_callback(everpost: Stack) -> None:
    with pytest.raises(ApiRefusal, match="EVERPOST_CALLBACK_SECRET"):
        await everpost.publish(callback_url="https://example.com/")


async def test_clients_cannot_post_callbacks_themselves(stack: Stack, receiver: Receiver) -> None:
    forged = {"id": "x", "url": receiver.url, "event": {"type": "task.success"}}
    for platform in ("callback", "CALLBACK", 1000, "1000"):
        with pytest.raises(ApiRefusal) as refusal:
            await stack.publish(platform=platform, callback=forged)
        assert refusal.value.code == "unknown_platform"
    task_id = await stack.publish(callback_url=receiver.url)
    await delivered(stack, task_id)
    edited = await stack.post_retry(f"{task_id}.success.callback", force=True, data={"callback": forged})
    assert edited.json()["code"] == "unknown_platform"
    platforms = (await stack.client.get("/api/v1/platforms")).json()["data"]
    assert "callback" not in [platform["name"] for platform in platforms]
    answer = await stack.client.post(f"/api/v1/callbacks/{task_id}/redeliver")
    assert answer.json()["code"] == "task_not_found"
    assert len(receiver.messages) == 1


async def test_unfinished_callbacks_do_not_keep_ended_tasks_from_being_cleared(
    stack: Stack, receiver: Receiver
) -> None:
    receiver.answer = lambda _: answer_with(503, "Retry-After: 60")
    task_id = await stack.publish(callback_url=receiver.url)
    await receiver.wait_for(f"{task_id}.success")
    cleared = await stack.client.post("/api/v1/tasks/clear/all")
    assert (cleared.status_code, cleared.json()["success_count"]) == (200, 1)


async def test_stock_clients_cannot_make_callbacks_either(stack: Stack, receiver: Receiver) -> None:
    forged = {"id": "forged", "url": receiver.url, "event": {"type": "task.success"}}
    data = {"platform": "callback", "account_id": "a", "callback": forged}
    for job_id in ("forged.success.callback", "forged"):
        task = Task(task_id=job_id, task_data=msgspec.json.encode(data), platform="", account_id="", created_at_ms=1)
        await stack.queue.enqueuer.restore_tasks([task])

    async def are_refused() -> bool:
        ends = [await stack.store.history.find_task(job_id) for job_id in ("forged.success.callback", "forged")]
        return all(end is not None and end.status == "failed" for end in ends)

    await eventually(are_refused, what="both jobs to be refused")
    assert receiver.messages == []


async def test_a_receiver_that_is_too_busy_delays_no_other_receiver(stack: Stack, receiver: Receiver) -> None:
    receiver.answer = lambda message: (
        answer_with(503, "Retry-After: 600") if "busy" in message.path else answer_with(204)
    )
    busy = await stack.publish(account_id="shop", callback_url=receiver.url + "&busy")
    await receiver.wait_for(f"{busy}.success")

    async def is_put_off() -> bool:
        return [one["status"] for one in await log_of(stack, busy)] == ["retry"]

    await eventually(is_put_off, what="the busy receiver's callback to wait")
    other = await stack.publish(account_id="shop", callback_url=receiver.url)
    await receiver.wait_for(f"{other}.success")


async def test_a_host_that_does_not_answer_delays_no_callback_to_another(tmp_path: Path, receiver: Receiver) -> None:
    async with Receiver().serve("127.0.0.2") as frozen, calling(tmp_path, timeout_s=60, max_jobs=16) as stack:
        frozen.answers.clear()
        hung = [await stack.publish(callback_url=frozen.url) for _ in range(12)]
        await frozen.wait_for(f"{hung[0]}.success")
        other = await stack.publish(callback_url=receiver.url)
        await receiver.wait_for(f"{other}.success")
        assert len(frozen.messages) == 1  # of four that the worker sends at a time
        frozen.answers.set()


async def test_callbacks_that_wait_for_a_turn_spend_no_attempt(tmp_path: Path, receiver: Receiver) -> None:
    async with calling(tmp_path, max_jobs=4) as stack:
        posted = [await stack.publish(callback_url=receiver.url) for _ in range(10)]
        await receiver.wait_for(*(f"{task_id}.success" for task_id in posted))
        logs = [await delivered(stack, task_id) for task_id in posted]
        assert [len(attempts) for (log,) in logs if (attempts := log["attempts"])] == [1] * len(posted)


async def test_the_status_and_the_news_of_a_fan_out_outlive_the_archiving_of_its_tasks(
    stack: Stack, receiver: Receiver
) -> None:
    stack.publisher.fail_next(InvalidError("no"))
    accounts = [{"platform": 1, "account_id": name} for name in ("x", "y")]
    body = {"content": {"title": "t"}, "accounts": accounts, "callback_url": receiver.url}
    fanout_id = (await stack.client.post("/api/v1/publish/fanout", json=body)).json()["fanout_id"]
    place = f"/api/v1/publish/fanout/{fanout_id}"
    await receiver.wait_for(f"{fanout_id}.1")
    archived = await stack.client.post("/api/v1/tasks/archive", json={"older_than_days": 0})
    assert archived.json()["archived"] >= 1, archived.text
    shown = (await stack.client.get(place)).json()["data"]
    assert (shown["status"], shown["counts"]["success"], shown["counts"]["failed"]) == ("partial", 1, 1)
    assert (await stack.client.post(f"{place}/retry")).json()["success_count"] == 1
    (message,) = await receiver.wait_for(f"{fanout_id}.2")
    assert (message.event["type"], message.event["data"]["counts"]) == ("fanout.success", {"success": 2})
    assert (await stack.client.get(place)).json()["data"]["status"] == "success"
