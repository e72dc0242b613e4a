"""Invalid bulk requests are refused, and leave nothing behind."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api_support import Api, assert_problem, running_valkey, serving
from store_kit import kit_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/v1/tasks"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("bulk")
    async with running_valkey(folder) as valkey, serving(folder, valkey) as served:
        yield served


@pytest.mark.parametrize("operation_id", ["0" * 32, "nope", "%00", "a" * 500, "%2e%2e"])
async def test_an_unknown_operation_is_not_found(api: Api, operation_id: str) -> None:
    assert_problem(await api.client.get(f"/api/v1/operations/{operation_id}"), 404, "operation_not_found")


BAD_BODIES = {
    "neither ids nor filter": ({}, "$"),
    "an empty filter": ({"filter": {}}, "$.filter"),
    "ids that are a text": ({"task_ids": "abc"}, "$.task_ids"),
    "an id that is a number": ({"task_ids": ["a", 1]}, "$.task_ids[1]"),
    "an empty id": ({"task_ids": [""]}, "$.task_ids[0]"),
    "an unknown field": ({"task_ids": ["a"], "dryrun": True}, "$"),
    "an unknown filter": ({"filter": {"state": "failed"}}, "$.filter"),
    "an unknown status": ({"filter": {"status": "done"}}, "$.filter.status"),
    "a malformed time": ({"filter": {"created_after": "soon"}}, "$.filter.created_after"),
    "a list": ([], "$"),
}


@pytest.mark.parametrize(("body", "path"), BAD_BODIES.values(), ids=BAD_BODIES)
async def test_bulk_work_that_makes_no_sense_is_refused(api: Api, body: Any, path: str) -> None:
    for kind in ("retry", "cancel", "delete"):
        answer = await api.client.post(f"{API}/batch/{kind}", json=body)
        assert_problem(answer, 422, "invalid_value", path)
    assert kit_of(api.settings).count_operations() == 0


async def test_an_unknown_platform_in_a_filter_is_refused(api: Api) -> None:
    answer = await api.client.post(f"{API}/batch/retry", json={"filter": {"platform": "nowhere"}})
    assert_problem(answer, 422, "unknown_platform", "$.filter.platform")


async def test_an_unknown_kind_of_clearing_is_refused(api: Api) -> None:
    assert_problem(await api.client.post(f"{API}/clear/everything"), 422, "invalid_value")
