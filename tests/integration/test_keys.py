"""API keys over HTTP: made, used, rotated and revoked; and which role may do what, on every route."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api_support import PUBLISH, TASK, Api, assert_problem, running_valkey, serving
from everpost.access import RIGHTS_OF_ROLE, Right, Role
from everpost.access.keys import FORM
from everpost.embedded import EmbeddedValkey
from everpost.testing import eventually

TOKEN = "the token of the admin"
KEYS = "/api/v1/keys"

ROUTES: Mapping[Right, str] = {
    Right.READ: "show_fanout list_callbacks list_platforms list_tasks list_tasks_alias complete_id list_recent_ends "
    "show_stats show_queue_health show_task show_task_alias show_upload_options list_files show_file download_file "
    "show_operation show_dispatch show_limits list_accounts show_account list_recurring show_recurring "
    "show_next_times show_metrics show_readiness show_caller list_batches list_operations list_failures show_timeline "
    "show_schedule follow_events follow_task export_tasks "
    "show_look_up",
    Right.SUBMIT: "publish_task publish_batch publish_fanout upload_file continue_upload retry_task",
    Right.OPERATE: "retry_fanout cancel_fanout redeliver_callback resolve_task edit_task publish_now cancel_task "
    "delete_task retry_tasks cancel_tasks delete_tasks edit_tasks publish_tasks_now clear_tasks archive_tasks "
    "delete_file set_limits pause_scope resume_scope test_account pause_account resume_account add_recurring "
    "edit_recurring pause_recurring resume_recurring remove_recurring list_audit "
    "look_task_up bring_task_back undo_operation resolve_tasks",
    Right.ADMIN: "resume_dispatch add_account change_account remove_account list_keys create_key rotate_key revoke_key "
    "export_audit",
}
"""The right that each route needs, by the names of operations in the OpenAPI document."""
PUBLIC = {"show_liveness"}


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    async with running_valkey(tmp_path) as server:
        yield server


@pytest_asyncio.fixture
async def guarded(tmp_path: Path, valkey: EmbeddedValkey) -> AsyncIterator[Api]:
    async with serving(tmp_path, valkey, token=TOKEN) as served:
        yield served


@pytest_asyncio.fixture
async def open_api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, None) as served:
        yield served


async def make(api: Api, name: str, role: Role, **fields: Any) -> str:
    answer = await api.client.post(KEYS, json={"name": name, "role": role, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


def client(api: Api, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=api.address, timeout=30, headers={"authorization": f"Bearer {key}"})


async def operations(api: Api) -> list[tuple[str, str, str]]:
    """Method, path and name of each operation; each parameter of a path is `none`."""
    document = (await api.client.get("/schema/openapi.json")).json()
    return [
        (
            method.upper(),
            "/".join("none" if part.startswith("{") else part for part in path.split("/")),
            one["operationId"],
        )
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    ]


async def test_every_route_is_in_the_table_of_rights(open_api: Api) -> None:
    named = [name for names in ROUTES.values() for name in names.split()]
    assert sorted([*named, *PUBLIC]) == sorted(name for _, _, name in await operations(open_api))


@pytest.mark.parametrize("role", Role)
async def test_each_role_may_use_the_routes_of_its_rights_and_no_others(guarded: Api, role: Role) -> None:
    rights = {name: right for right, names in ROUTES.items() for name in names.split()}
    async with client(guarded, await make(guarded, "someone", role)) as caller:
        for method, path, name in await operations(guarded):
            async with caller.stream(method, path) as answer:  # some never end
                may = name in PUBLIC or rights[name] in RIGHTS_OF_ROLE[role]
                assert (answer.status_code not in {401, 403}) is may, f"{method} {path}: {answer.status_code}"
                if not may:
                    await answer.aread()
                    assert_problem(answer, 403, "forbidden")


@pytest.mark.parametrize("query", ["", "?dry_run=true"], ids=["direct", "through Litestar"])
async def test_a_viewer_submits_nothing(guarded: Api, query: str) -> None:
    async with client(guarded, await make(guarded, "reader", Role.VIEWER)) as reader:
        assert_problem(await reader.post(PUBLISH + query, json=TASK), 403, "forbidden")
    async with client(guarded, "evp_00000000_" + "x" * 43) as stranger:
        assert_problem(await stranger.post(PUBLISH + query, json=TASK), 401, "unauthorized")
    assert await guarded.count_tasks() == 0


@pytest.mark.parametrize("query", ["", "?force=false"], ids=["direct", "through Litestar"])
async def test_a_viewer_retries_nothing(guarded: Api, query: str) -> None:
    task_id = await guarded.publish()
    path = f"/api/v1/tasks/retry/{task_id}{query}"
    async with client(guarded, await make(guarded, "reader", Role.VIEWER)) as reader:
        assert_problem(await reader.post(path), 403, "forbidden")
    assert await guarded.count_tasks() == 1


async def test_a_publisher_submits_and_reads(guarded: Api) -> None:
    async with client(guarded, await make(guarded, "shop", Role.PUBLISHER)) as shop:
        task_id = (await shop.post(PUBLISH, json=TASK)).json()["task_id"]
        assert (await shop.get(f"/api/v1/tasks/{task_id}")).status_code == 200
        assert (await shop.get("/api/v1/whoami")).json() == {
            "success": True, "name": "shop", "role": "publisher", "rights": ["read", "submit"], "platforms": [],
            "accounts": [],
        }  # fmt: skip


async def test_callers_that_choose_one_idempotency_key_do_not_get_each_other_s_answers(guarded: Api) -> None:
    header, made = {"idempotency-key": "1"}, []
    for name in ("shop", "bot"):
        async with client(guarded, await make(guarded, name, Role.PUBLISHER)) as caller:
            answers = [await caller.post(PUBLISH, json=TASK, headers=header) for _ in range(2)]
            assert answers[0].json() == answers[1].json()
            made.append(answers[0].json()["task_id"])
    rotated = (await guarded.client.post(f"{KEYS}/shop/rotate")).json()["key"]
    async with client(guarded, rotated) as shop:
        assert (await shop.post(PUBLISH, json=TASK, headers=header)).json()["task_id"] == made[0]
    assert len(set(made)) == await guarded.count_tasks() == 2


@pytest.mark.parametrize("route", [PUBLISH, f"{PUBLISH}/batch", f"{PUBLISH}/fanout"])
async def test_a_request_from_before_its_caller_had_a_key_is_repeated_safely(guarded: Api, route: str) -> None:
    content = {"platform": TASK["platform"], "account_id": TASK["account_id"]}
    body: Any = {PUBLISH: TASK, f"{PUBLISH}/batch": [TASK]}.get(route, {"content": TASK, "accounts": [content]})
    header, other = {"idempotency-key": "1"}, json.loads(json.dumps(body).replace("test_account", "other"))
    first = await guarded.client.post(route, json=body, headers=header)
    async with client(guarded, await make(guarded, "shop", Role.PUBLISHER)) as shop:
        for _ in range(2):
            assert (await shop.post(route, json=body, headers=header)).text == first.text
        mine = await shop.post(route, json=other, headers=header)
        assert (first.status_code, mine.status_code) == (202, 202)
        assert mine.text != first.text
        assert_problem(await shop.post(route, json=body, headers=header), 422, "idempotency_key_reused")
    assert await guarded.count_tasks() == 2


async def test_a_publisher_retries_its_own_tasks_only(guarded: Api) -> None:
    others = await guarded.publish(schedule_time="2030-01-01T00:00:00Z")
    async with client(guarded, await make(guarded, "shop", Role.PUBLISHER)) as shop:
        answer = await shop.post(PUBLISH, json={**TASK, "schedule_time": "2030-01-01T00:00:00Z"})
        own = answer.json()["task_id"]
        for query in ("", "?force=false"):
            assert_problem(await shop.post(f"/api/v1/tasks/retry/{others}{query}"), 403, "forbidden")
            assert_problem(await shop.post(f"/api/v1/tasks/retry/none{query}"), 404, "task_not_found")
        retried = (await guarded.client.post(f"/api/v1/tasks/retry/{own}")).json()["new_task_id"]
        again = await shop.post(f"/api/v1/tasks/retry/{retried}")  # an operator's retry is still the publisher's task
        assert again.status_code == 200, again.text
        listed = (await shop.get("/api/v1/tasks", params={"submitted_by": "shop"})).json()["data"]
        assert {row["task_id"] for row in listed} == {own, retried, again.json()["new_task_id"]}
        assert (await shop.get(f"/api/v1/tasks/{own}")).json()["data"]["submitted_by"] == "shop"
    assert (await guarded.client.get(f"/api/v1/tasks/{others}")).json()["data"]["submitted_by"] == "token"


async def test_a_key_is_shown_once_and_kept_as_a_digest(guarded: Api) -> None:
    key = await make(guarded, "shop", Role.OPERATOR, platforms=["抖音"], accounts=["bilibili/a/b"], expires_in_s=60)
    assert FORM.fullmatch(key)
    (shown,) = (await guarded.client.get(KEYS)).json()["data"]
    assert key.startswith(shown["prefix"] + "_")
    assert (shown["platforms"], shown["accounts"], shown["created_by"]) == (["douyin"], ["bilibili/a/b"], "token")
    assert shown["expires_at"] > shown["created_at"]
    assert key not in (await guarded.client.get(KEYS)).text
    assert key.encode() not in b"".join(path.read_bytes() for path in guarded.settings.data.glob("everpost.db*"))


async def test_from_the_first_key_on_every_request_needs_one(open_api: Api) -> None:
    assert (await open_api.client.get("/api/v1/whoami")).json()["name"] == "anonymous"
    refused = await open_api.client.post(KEYS, json={"name": "reader", "role": "viewer"})
    assert_problem(refused, 422, "invalid_value", "$.role")
    async with client(open_api, await make(open_api, "ops", Role.ADMIN)) as ops:
        assert_problem(await open_api.client.get("/api/v1/whoami"), 401, "unauthorized")
        assert (await ops.get("/api/v1/whoami")).json()["role"] == "admin"
        assert_problem(await ops.delete(f"{KEYS}/ops"), 409, "last_admin_key")
        assert (await ops.post(KEYS, json={"name": "reader", "role": "viewer"})).status_code == 201


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.chaos)])
async def test_all_processes_refuse_a_revoked_key_soon(tmp_path: Path, valkey: EmbeddedValkey, kind: str) -> None:
    from stores import empty_store  # noqa: PLC0415 - PostgreSQL is started only if it is used

    async with AsyncExitStack() as running:
        database = running.enter_context(empty_store(kind, tmp_path))
        guarded, other = [
            await running.enter_async_context(serving(tmp_path, valkey, token=TOKEN, database=database))
            for _ in range(2)
        ]
        key = await make(guarded, "shop", Role.VIEWER)
        async with client(guarded, key) as here, client(other, key) as there:
            assert (await here.get("/api/v1/whoami")).status_code == 200

            async def status_there(wanted: int) -> bool:
                return (await there.get("/api/v1/whoami")).status_code == wanted

            await eventually(lambda: status_there(200))
            revoked = (await guarded.client.delete(f"{KEYS}/shop")).json()["data"]
            assert (revoked["revoked_by"], revoked["name"]) == ("token", "shop")
            assert_problem(await here.get("/api/v1/whoami"), 401, "unauthorized")
            await eventually(lambda: status_there(401))
        again = await guarded.client.delete(f"{KEYS}/{revoked['key_id']}")
        assert again.json()["data"] == revoked


async def test_a_key_is_replaced_while_both_are_valid(guarded: Api) -> None:
    old = await make(guarded, "shop", Role.PUBLISHER, platforms=["douyin"], rate={"count": 100, "per_s": 1})
    assert_problem(await guarded.client.post(KEYS, json={"name": "shop", "role": "viewer"}), 409, "key_exists")
    rotated = await guarded.client.post(f"{KEYS}/shop/rotate", json={"overlap_s": 60})
    assert rotated.status_code == 201, rotated.text
    new = rotated.json()
    assert (new["data"]["role"], new["data"]["platforms"]) == ("publisher", ["douyin"])
    assert new["data"]["rate"] == {"count": 100, "per_s": 1.0}
    for key in (old, new["key"]):
        async with client(guarded, key) as shop:
            assert (await shop.get("/api/v1/whoami")).json()["name"] == "shop"
    assert_problem(await guarded.client.delete(f"{KEYS}/shop"), 404, "key_not_found")  # which one?
    at_once = await guarded.client.post(f"{KEYS}/{new['data']['prefix']}/rotate", json={"overlap_s": 0})
    assert at_once.status_code == 201, at_once.text
    async with client(guarded, new["key"]) as shop:
        assert_problem(await shop.get("/api/v1/whoami"), 401, "unauthorized")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": ""}, "$.name"),
        ({"name": "Token"}, "$.name"),
        ({"name": "a\u202eb"}, "$.name"),
        ({"name": " a"}, "$.name"),
        ({"role": "root"}, "$.role"),
        ({"role": "admin", "platforms": [1]}, "$.role"),
        ({"platforms": ["nowhere"]}, None),
        ({"accounts": ["douyin"]}, "$.accounts[0]"),
        ({"accounts": ["douyin/" + "a" * 257]}, "$.accounts[0]"),
        ({"rate": {"count": 0, "per_s": 1}}, "$.rate.count"),
        ({"expires_in_s": -1}, "$.expires_in_s"),
        ({"scope": "all"}, None),
    ],
    ids=str,
)
async def test_a_key_that_makes_no_sense_is_not_made(guarded: Api, fields: Mapping[str, Any], path: str | None) -> None:
    answer = await guarded.client.post(KEYS, json={"name": "shop", "role": "viewer", **fields})
    assert answer.status_code == 422, answer.text
    assert path is None or answer.json()["path"] == path
    assert (await guarded.client.get(KEYS)).json()["data"] == []


async def test_the_last_use_of_a_key_is_written_at_the_latest_when_the_api_stops(tmp_path: Path) -> None:
    async with serving(tmp_path, None, token=TOKEN) as api:
        key = await make(api, "shop", Role.VIEWER)
        async with client(api, key) as shop:
            await shop.get("/api/v1/whoami")
    async with serving(tmp_path, None, token=TOKEN) as api:
        (shown,) = (await api.client.get(KEYS)).json()["data"]
        assert shown["last_used_at"] > shown["created_at"]
