"""Registered accounts from the API to the publisher: credentials, holds, pauses, tests."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from api_support import assert_problem
from everpost.credentials.vault import Sealed, Vault, new_key
from everpost.publishing import (
    Account,
    AccountBlockedError,
    AuthError,
    NeedsPersonError,
    PermanentError,
    PublishError,
    PublishJob,
    PublishResult,
)
from everpost.task.account_rules import AccountStatus, locked, put_on, with_tokens
from everpost.testing import PublisherDouble, Stack, eventually, everpost_stack
from store_rows import make_task

ACCOUNTS = "/api/v1/accounts"
STUDIO = f"{ACCOUNTS}/xiaohongshu/studio"
SECRET = "c4n4ry-0123456789"
KEY = new_key()


class Platform(PublisherDouble):
    """A platform that reads the account's credentials, and may rotate its tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, str]] = []
        self.options: list[Any] = []
        self.refreshed = 0
        self.said: str | None = "@studio"
        self.check: Callable[[], None] = lambda: None

    async def publish(self, job: PublishJob) -> PublishResult:
        if job.data.get("cached"):
            raise PermanentError(f"refused with {SECRET} of studio-name")
        self.options.append((job.account.id, job.account.is_registered, dict(job.account.options)))
        if job.account.is_registered:
            self.seen.append(await job.account.credentials())
        if job.data.get("rotate"):
            async with job.account.refreshing() as tokens:
                if not tokens.are_fresh:
                    self.refreshed += 1
                    await tokens.store({"token": f"rotated-{self.refreshed}-{SECRET}"})
                self.seen.append(dict(tokens))
        return await super().publish(job)

    async def check_account(self, account: Account) -> str | None:
        self.seen.append(await account.credentials())
        self.check()
        return self.said


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
async def stack(
    both_stores_in_chaos: None, tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stack]:
    monkeypatch.setenv("EVERPOST_ACCOUNT_STUDIO", SECRET)
    async with everpost_stack(publisher=platform, folder=tmp_path / "data", secret_key=KEY) as stack:
        yield stack


async def register(stack: Stack, **fields: Any) -> dict[str, Any]:
    body = {"platform": 1, "account_id": "studio", "credentials": {"token": "env:EVERPOST_ACCOUNT_STUDIO"}, **fields}
    answer = await stack.client.post(ACCOUNTS, json=body)
    assert answer.status_code == 201, answer.text
    account: dict[str, Any] = answer.json()["data"]
    return account


async def account_of(stack: Stack) -> dict[str, Any]:
    account: dict[str, Any] = (await stack.client.get(STUDIO)).json()["data"]
    return account


async def waits(stack: Stack, task_id: str, kind: str, reason: str) -> None:
    """Wait until the task waits outside the queue, and says why."""
    wanted = {"kind": kind, "scope": "xiaohongshu/studio", "reason": reason, "until": None}

    async def is_parked() -> bool:
        task = await stack.task(task_id)
        return task["status"] in {"pending", "retry"} and task["waits_for"] == wanted

    await eventually(is_parked, what=f"{task_id} waiting for {wanted}")


async def attempts_of(stack: Stack, task_id: str) -> list[dict[str, Any]]:
    return (await stack.task(task_id))["attempts"] or []


async def known(stack: Stack) -> None:
    """Wait until the worker knows the account: it may take a second."""
    platform = stack.publisher
    assert isinstance(platform, Platform)

    async def is_known() -> bool:
        await stack.wait_until_ended(await stack.publish(account_id="studio"))
        return bool(platform.options[-1][:2] == ("studio", True))

    await eventually(is_known, what="the account in the worker")


async def test_a_publisher_gets_options_and_credentials_of_a_registered_account(
    stack: Stack, platform: Platform
) -> None:
    await stack.wait_until_ended(await stack.publish(account_id="stranger"))
    assert platform.options == [("stranger", False, {})]
    await register(stack, options={"host": "x.example"})

    async def is_known() -> bool:
        await stack.wait_until_ended(await stack.publish(account_id="studio"))
        return bool(platform.options[-1] == ("studio", True, {"host": "x.example"}))

    await eventually(is_known, what="the account in the worker")
    assert platform.seen[-1] == {"token": SECRET}


async def test_a_task_that_is_accepted_after_its_account_is_published_with_it_at_once(
    stack: Stack, platform: Platform
) -> None:
    accounts = [f"studio-{number}" for number in range(4)]
    for account_id in accounts:
        await register(stack, account_id=account_id)
        await stack.wait_until_ended(await stack.publish(account_id=account_id))
    await register(stack, platform="douyin", account_id="of a stock client")
    await stack.queue.enqueuer.enqueue_task(make_task("stray", account_id="of a stock client"))
    await stack.wait_until_ended("stray")
    assert platform.options == [(account_id, True, {}) for account_id in (*accounts, "of a stock client")]
    assert platform.seen == [{"token": SECRET}] * 5


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AuthError("the token is refused"), "auth"),
        pytest.param(NeedsPersonError("solve the captcha"), "needs_person", marks=pytest.mark.chaos),
    ],
)
async def test_a_refused_account_is_held_and_its_tasks_wait_until_it_is_resumed(
    stack: Stack, platform: Platform, error: PublishError, status: str
) -> None:
    await register(stack)
    await known(stack)
    platform.fail_next(error)
    first = await stack.publish(account_id="studio")

    async def is_held() -> bool:
        return bool((await account_of(stack))["status"] == "held")

    await eventually(is_held, what="the hold")
    account = await account_of(stack)
    assert account["reason"] == str(error)
    second = await stack.publish(account_id="studio")
    other = await stack.publish(account_id="other")
    assert (await stack.wait_until_ended(other))["status"] == "success"
    for task_id in (first, second):
        await waits(stack, task_id, "held", str(error))
    assert (await stack.task(first))["attempts_spent"] == 0
    assert [attempt["error_class"] for attempt in await attempts_of(stack, first)] == [status]
    metrics = (await stack.client.get("/metrics")).text
    assert 'everpost_accounts{platform="xiaohongshu",status="held"} 1.0' in metrics
    before = len(platform.attempts)
    answer = await stack.client.post(f"{STUDIO}/resume")
    assert answer.json()["data"]["status"] == "active"
    assert answer.json()["data"]["reason"] is None
    for task_id in (first, second):
        assert (await stack.wait_until_ended(task_id))["status"] == "success"
    assert len(platform.attempts) == before + 2


async def test_a_secret_that_a_publisher_has_kept_is_hidden_and_a_name_is_not(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERPOST_ACCOUNT_NAME", "studio-name")
    references = {"token": "env:EVERPOST_ACCOUNT_STUDIO", "username": "env:EVERPOST_ACCOUNT_NAME"}
    await register(stack, credentials=references)
    await known(stack)
    task = await stack.wait_until_ended(await stack.publish(account_id="studio", cached=True))
    assert task["error_message"] == "refused with *** of studio-name"


async def test_an_account_that_is_not_registered_fails_as_ever(stack: Stack, platform: Platform) -> None:
    for error in (AuthError("no"), NeedsPersonError("no"), AccountBlockedError("no")):
        platform.fail_next(error)
        task = await stack.wait_until_ended(await stack.publish(account_id="stranger"))
        assert (task["status"], task["error_class"]) == ("failed", error.error_class)


async def test_a_blocked_account_ends_its_task_and_those_that_wait(stack: Stack, platform: Platform) -> None:
    await register(stack)
    await known(stack)
    await stack.client.post(f"{STUDIO}/pause", json={"reason": "wait"})
    waiting = [await stack.publish(account_id="studio") for _ in range(3)]
    for task_id in waiting:
        await waits(stack, task_id, "paused", "wait")
    platform.fail_when(lambda _: AccountBlockedError("closed for good"))
    await stack.client.post(f"{STUDIO}/resume")
    for task_id in waiting:
        task = await stack.wait_until_ended(task_id)
        assert (task["status"], task["error_class"]) == ("failed", "account_blocked")
    assert (await account_of(stack))["status"] == "blocked"
    attempts = len(platform.attempts)
    task = await stack.wait_until_ended(await stack.publish(account_id="studio"))
    assert (task["status"], task["error_class"], task["attempts"] or []) == ("failed", "account_blocked", [])
    assert "closed for good" in task["error_message"]
    assert len(platform.attempts) == attempts


async def test_limits_and_accounts_pause_and_resume_the_same_account(stack: Stack) -> None:
    await register(stack)
    scope = {"platform": 1, "account_id": "studio"}
    await stack.client.post("/api/v1/limits/pause", json={**scope, "reason": "verified", "by": "mei"})
    assert [(await account_of(stack))[name] for name in ("status", "reason")] == ["paused", "verified"]
    hold = (await stack.store.limits.find_state("xiaohongshu/studio")).hold
    assert hold is not None
    assert hold.by == "mei"
    task_id = await stack.publish(account_id="studio")
    await waits(stack, task_id, "paused", "verified")
    await stack.client.post(f"{STUDIO}/resume")
    assert (await stack.wait_until_ended(task_id))["status"] == "success"
    await stack.client.post(f"{STUDIO}/pause", json={})
    task_id = await stack.publish(account_id="studio")
    await waits(stack, task_id, "paused", "")
    await stack.client.post("/api/v1/limits/resume", json=scope)
    assert (await account_of(stack))["status"] == "active"
    assert (await stack.wait_until_ended(task_id))["status"] == "success"


async def test_a_worker_tests_an_account(stack: Stack, platform: Platform) -> None:
    await register(stack)
    answer = (await stack.client.post(f"{STUDIO}/test", timeout=30)).json()
    assert answer["message"] == "The account can publish"
    test = answer["data"]["test"]
    assert (test["ok"], test["asked"], test["credentials"], test["detail"]) == (True, True, {"token": "ok"}, "@studio")

    def refuse() -> None:
        raise AuthError(f"the token {SECRET} has expired")

    platform.check = refuse
    answer = (await stack.client.post(f"{STUDIO}/test", timeout=30)).json()
    test = answer["data"]["test"]
    assert (test["ok"], test["error_class"], test["detail"]) == (False, "auth", "the token *** has expired")
    assert answer["data"]["status"] == "active"
    await stack.client.patch(STUDIO, json={"credentials": {"token": "file:none", "b": "env:EVERPOST_ACCOUNT_STUDIO"}})
    test = (await stack.client.post(f"{STUDIO}/test", timeout=30)).json()["data"]["test"]
    assert test["ok"] is False
    assert test["credentials"]["b"] == "ok"
    assert "No such file" in test["credentials"]["token"]


async def test_rotated_tokens_are_refreshed_once_and_given_to_all(stack: Stack, platform: Platform) -> None:
    await register(stack)
    await known(stack)
    platform.seen.clear()
    tasks = [await stack.publish(account_id="studio", rotate=True) for _ in range(8)]
    for task_id in tasks:
        assert (await stack.wait_until_ended(task_id))["status"] == "success"
    assert 1 <= platform.refreshed < 8
    account = await stack.store.accounts.find("xiaohongshu", "studio")
    assert account is not None
    assert account.tokens is not None
    assert SECRET not in account.tokens
    assert account.locked_by is None
    assert (await account_of(stack))["tokens_at"] is not None
    platform.seen.clear()
    await stack.wait_until_ended(await stack.publish(account_id="studio"))
    assert platform.seen == [{"token": f"rotated-{platform.refreshed}-{SECRET}"}]
    await stack.client.patch(STUDIO, json={"credentials": {"token": "env:EVERPOST_ACCOUNT_STUDIO", "x": "file:y"}})
    assert (await account_of(stack))["tokens_at"] is None


@pytest.mark.usefixtures("both_stores_in_chaos")
async def test_the_routes_answer_what_is_wrong(tmp_path: Path) -> None:
    async with everpost_stack(workers=0, folder=tmp_path / "data", redis="redis://127.0.0.1:1") as stack:

        async def refused(method: str, path: str, body: Any = None) -> tuple[int, str, str | None]:
            answer: httpx.Response = await stack.client.request(method, path, json=body)
            problem = answer.json()
            assert SECRET not in answer.text
            return answer.status_code, problem["code"], problem.get("path")

        await register(stack)
        new = {"platform": 1, "account_id": "a"}
        assert await refused("POST", ACCOUNTS, {**new, "account_id": "studio"}) == (409, "account_exists", None)
        assert await refused("POST", ACCOUNTS, {**new, "platform": "x"}) == (422, "unknown_platform", "$.platform")
        assert await refused("POST", ACCOUNTS, {**new, "account_id": "a/b"}) == (422, "invalid_value", "$.account_id")
        assert await refused("POST", ACCOUNTS, {**new, "status": "held"}) == (422, "invalid_value", "$")
        assert await refused("POST", ACCOUNTS, {**new, "timezone": "Mars"}) == (422, "invalid_value", "$.timezone")
        assert await refused("POST", ACCOUNTS, {**new, "title": "a\0"}) == (422, "invalid_value", "$.title")
        bad = {**new, "options": {"a": "\0"}}
        assert (await refused("POST", ACCOUNTS, bad))[:2] == (422, "invalid_value")
        bad = {**new, "options": {"a": "x" * 17_000}}
        assert await refused("POST", ACCOUNTS, bad) == (422, "invalid_value", "$.options")
        for reference in (SECRET, "env:PATH", "file:../x", 5, None):
            bad = {**new, "credentials": {"token": reference}}
            assert (await refused("POST", ACCOUNTS, bad))[:2] == (422, "invalid_value")
        assert await refused("PATCH", f"{ACCOUNTS}/douyin/none", {}) == (404, "account_not_found", None)
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/resume")):
            assert await refused(method, f"{ACCOUNTS}/douyin/none{path}") == (404, "account_not_found", None)
        assert (await refused("GET", f"{ACCOUNTS}?cursor=x"))[:2] == (422, "invalid_value")
        assert (await refused("GET", f"{ACCOUNTS}?status=x"))[:2] == (422, "invalid_value")
        listed = (await stack.client.get(f"{ACCOUNTS}?platform=xhs&limit=1")).json()
        assert [one["account_id"] for one in listed["data"]] == ["studio"]
        following = (await stack.client.get(f"{ACCOUNTS}?cursor={listed['next_cursor']}")).json()
        assert (following["data"], following["next_cursor"]) == ([], None)
        for account_id in ("@mei:matrix.example", "工作室", "a b", "a%2Fb", "a?b#c", "..a", "~"):
            answer = await stack.client.post(ACCOUNTS, json={**new, "account_id": account_id})
            shown = (await stack.client.get(answer.headers["location"])).json()
            assert shown["data"]["account_id"] == account_id
        assert (await stack.client.delete(STUDIO)).json()["data"]["account_id"] == "studio"
        assert await refused("GET", STUDIO) == (404, "account_not_found", None)


async def test_only_registered_accounts_can_be_named_where_they_are_needed(tmp_path: Path) -> None:
    catalogue = tmp_path / "platforms.toml"
    catalogue.write_text("[platforms.xiaohongshu]\nneeds_account = true\n")
    folder = tmp_path / "data"
    async with everpost_stack(workers=0, folder=folder, redis="redis://127.0.0.1:1", platforms=catalogue) as stack:

        async def code_of(account_id: str, *, platform: int = 1, key: str | None = None) -> str | None:
            headers = {} if key is None else {"idempotency-key": key}
            body = {"platform": platform, "account_id": account_id}
            answer = await stack.client.post("/api/v1/publish", json=body, headers=headers)
            problem = answer.json()
            assert problem.get("path") in {None, "$.account_id"}
            return str(problem["code"]) if answer.status_code == 422 else None

        assert await code_of("studio") == "unknown_account"
        assert await code_of("studio", key="key-1") == "unknown_account"
        assert await code_of("studio", platform=2) is None
        await register(stack)
        assert await code_of("studio") is None
        assert await code_of("studio", key="key-1") is None
        items = [{"platform": 1, "account_id": name} for name in ("studio", "stranger")]
        batch = (await stack.client.post("/api/v1/publish/batch", json=items)).json()
        assert (batch["accepted"], batch["results"][1]["code"]) == (1, "unknown_account")
        assert batch["results"][1]["path"] == "$[1].account_id"
        lines = "\n".join(json.dumps(item) for item in items)
        ndjson = {"content-type": "application/x-ndjson"}
        answer = await stack.client.post("/api/v1/publish/batch", content=lines, headers=ndjson)
        told = [json.loads(line) for line in answer.text.splitlines()]
        assert [line.get("code") for line in told] == [None, "unknown_account", None]
        await block(stack, "closed by the platform")
        assert await code_of("studio") == "account_blocked"


async def block(stack: Stack, reason: str) -> None:
    """Block the account as a worker does, and wait until the API knows."""
    await stack.store.accounts.change("xiaohongshu", "studio", put_on(AccountStatus.BLOCKED, reason, 1), 1)
    directory = stack.app.state.services.accounts.directory

    async def is_known() -> bool:
        standing = directory.find("xiaohongshu", "studio")
        return standing is not None and standing.status == "blocked"

    await eventually(is_known, what="the blocked account in the API")


async def test_a_publisher_that_needs_accounts_fails_tasks_of_others(
    tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Platform, "needs_account", True)
    catalogue = tmp_path / "platforms.toml"
    catalogue.write_text("[platforms.xiaohongshu]\nneeds_account = false\n")  # it is not refused when it is posted
    async with everpost_stack(publisher=platform, folder=tmp_path / "data", platforms=catalogue) as stack:
        task = await stack.wait_until_ended(await stack.publish(account_id="stranger"))
        assert (task["status"], task["error_class"]) == ("failed", "invalid")
        assert "not registered" in task["error_message"]
        assert platform.attempts == []


async def test_what_a_publisher_declares_is_checked_when_a_task_is_posted_unless_the_catalogue_says_otherwise(
    tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Platform, "needs_account", True)
    catalogue = tmp_path / "platforms.toml"
    catalogue.write_text("[platforms.douyin]\nneeds_account = false\n")
    async with everpost_stack(publisher=platform, folder=tmp_path / "data", platforms=catalogue) as stack:

        async def refusal(name: str) -> tuple[str, str] | None:
            body = {"platform": name, "account_id": "stranger"}
            answer = await stack.client.post("/api/v1/publish?dry_run=true", json=body)
            problem = answer.json()
            return (problem["code"], problem["path"]) if answer.status_code == 422 else None

        async def is_known() -> bool:
            return await refusal("xiaohongshu") is not None

        await eventually(is_known, what="the API to know what the publisher declares")
        assert await refusal("xiaohongshu") == ("unknown_account", "$.account_id")
        assert await refusal("douyin") is None
        platforms = (await stack.client.get("/api/v1/platforms")).json()["data"]
        needs = {one["name"]: one["needs_account"] for one in platforms}
        assert (needs["xiaohongshu"], needs["douyin"]) == (True, False)
        waiting = await stack.publish(platform="douyin", account_id="stranger", schedule_time="2030-01-01")
        edit = await stack.client.patch(f"/api/v1/tasks/{waiting}", json={"platform": "xiaohongshu"})
        assert_problem(edit, 422, "unknown_account", "$.account_id")
        retry = await stack.post_retry(waiting, data={"platform": "xiaohongshu"})
        assert_problem(retry, 422, "unknown_account", "$.data.account_id")
        await register(stack, account_id="stranger", credentials={})
        assert await refusal("xiaohongshu") is None


async def test_a_worker_without_a_value_holds_the_account_and_says_why(
    stack: Stack, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(stack, credentials={"token": "env:EVERPOST_ACCOUNT_NONE"})
    await held_with(stack, "EVERPOST_ACCOUNT_NONE is not set")
    monkeypatch.setenv("EVERPOST_ACCOUNT_NONE", SECRET)
    await stack.client.post(f"{STUDIO}/resume")
    await stack.drain()
    assert platform.seen[-1] == {"token": SECRET}


async def held_with(stack: Stack, reason: str) -> None:
    await stack.publish(account_id="studio")

    async def is_held() -> bool:
        account = await account_of(stack)
        if account["status"] != "held":  # the worker did not know the account yet
            await stack.publish(account_id="studio")
        return account["status"] == "held" and reason in account["reason"]

    await eventually(is_held, what="the hold")


async def test_tokens_are_encrypted_anew_when_a_worker_gets_a_new_key(tmp_path: Path) -> None:
    new = new_key()
    async with everpost_stack(workers=0, folder=tmp_path / "data", secret_key=f"{new},{KEY}") as stack:
        await register(stack, credentials={})
        key = ("xiaohongshu", "studio")
        sealed = Vault(KEY).seal(Sealed({"a": "b"}, "digest", key))
        await stack.store.accounts.change(*key, locked("x", 2, 1), 1)
        await stack.store.accounts.change(*key, with_tokens(sealed, "x", 1), 1)
        await stack.start_worker()

        async def is_anew() -> bool:
            account = await stack.store.accounts.find(*key)
            assert account is not None
            return account.tokens != sealed

        await eventually(is_anew, what="tokens under the new key")
        account = await stack.store.accounts.find(*key)
        assert account is not None
        assert Vault(new).open(account.tokens or "", key).tokens == {"a": "b"}
