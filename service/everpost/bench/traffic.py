"""The bench's requests, each as bytes, made once."""

from collections.abc import Sequence
from typing import Any

import msgspec

from everpost.bench.answers import http_request
from everpost.bench.stack import ACCEPTING

PUBLISH = "/api/v1/publish"
TASK: dict[str, Any] = {
    "account_id": "bench",
    "file_id": 123,
    "title": "测试视频",
    "description": "a post of ordinary size, with an unknown field",
    "tags": ["测试", "视频"],
    "campaign": {"id": 7, "channel": "spring"},
}


def publish_request(platform: str = ACCEPTING, **fields: Any) -> bytes:
    """A task of ordinary size."""
    return http_request("POST", PUBLISH, msgspec.json.encode({"platform": platform, **TASK, **fields}))


def retry_requests(task_ids: Sequence[str]) -> list[bytes]:
    """One retry of each task."""
    return [http_request("POST", f"/api/v1/tasks/retry/{task_id}") for task_id in task_ids]


def batch_retry_request(**chosen: Any) -> bytes:
    """One retry of all tasks that a filter finds."""
    return http_request("POST", "/api/v1/tasks/batch/retry", msgspec.json.encode({"filter": chosen}))


def get_request(path: str) -> bytes:
    """A request without a body."""
    return http_request("GET", f"/api/v1{path}")
