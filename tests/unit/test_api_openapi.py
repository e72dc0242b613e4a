"""The OpenAPI document says everything of every route."""

from typing import Any

import pytest
from litestar import Litestar

from service.api.problems import STATUS_OF_CODE
from service.api.publish import SAMPLE
from service.api.schema import meaning_of_codes
from service.app import create_app
from service.settings import temporary_settings

ROUTES = {
    "POST /api/v1/publish",
    "POST /api/v1/publish/batch",
    "GET /api/v1/platforms",
    "GET /api/v1/tasks",
    "GET /api/v1/tasks/list",
    "GET /api/v1/tasks/stats",
    "GET /api/v1/tasks/health",
    "GET /api/v1/tasks/logs/recent",
    "GET /api/v1/tasks/{task_id}",
    "GET /api/v1/tasks/status/{task_id}",
    "DELETE /api/v1/tasks/{task_id}",
    "POST /api/v1/tasks/retry/{task_id}",
    "POST /api/v1/tasks/cancel/{task_id}",
    "POST /api/v1/tasks/{task_id}/resolve",
    "POST /api/v1/tasks/batch/retry",
    "POST /api/v1/tasks/batch/cancel",
    "POST /api/v1/tasks/batch/delete",
    "POST /api/v1/tasks/clear/{what}",
    "POST /api/v1/tasks/archive",
    "GET /api/v1/operations/{operation_id}",
    "GET /api/v1/dispatch",
    "POST /api/v1/dispatch/resume",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
}
WITH_BODY = {
    "/api/v1/publish",
    "/api/v1/publish/batch",
    "/api/v1/tasks/archive",
    "/api/v1/tasks/{task_id}/resolve",
    "/api/v1/tasks/batch/retry",
    "/api/v1/tasks/batch/cancel",
    "/api/v1/tasks/batch/delete",
}


def make_app(token: str | None = None) -> Litestar:
    return create_app(temporary_settings(redis="redis://127.0.0.1:1/0", token=token))


SCHEMA: dict[str, Any] = make_app().openapi_schema.to_schema()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in sorted(SCHEMA["paths"].items())
    for method, operation in methods.items()
}
every_operation = pytest.mark.parametrize("name", OPERATIONS)


def test_every_route_is_there() -> None:
    assert set(OPERATIONS) >= ROUTES


@every_operation
def test_every_operation_says_what_it_does(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert len(operation["description"]) > 20
    assert operation["tags"]
    assert operation["operationId"]


@every_operation
def test_every_operation_describes_its_answer(name: str) -> None:
    answers = {code: answer for code, answer in OPERATIONS[name]["responses"].items() if code.startswith("2")}
    assert answers
    for answer in answers.values():
        assert answer["description"]
        assert all(media["schema"] for media in answer["content"].values())


@every_operation
def test_every_operation_describes_its_refusals(name: str) -> None:
    responses = OPERATIONS[name]["responses"]
    assert {"401", "422", "500", "503"} <= set(responses)
    for code, answer in responses.items():
        if code.startswith(("4", "5")):
            assert "ProblemDetails" in str(answer["content"])
            assert "`" in answer["description"]
    assert "Retry-After" in responses["503"]["headers"]
    assert ("404" in responses) == ("task_id" in name or "operation_id" in name)


@every_operation
def test_every_parameter_is_described(name: str) -> None:
    for parameter in OPERATIONS[name].get("parameters", []):
        assert parameter["description"], parameter["name"]
        assert parameter["schema"]


@every_operation
def test_every_body_has_a_schema_and_an_example(name: str) -> None:
    operation = OPERATIONS[name]
    assert ("requestBody" in operation) == (name.partition(" ")[2] in WITH_BODY)
    for media in operation.get("requestBody", {}).get("content", {}).values():
        assert media["schema"]
        assert "$ref" not in str(media["schema"])
        assert media["examples"]
        assert {"400", "413", "415"} <= set(operation["responses"])


def test_the_sample_of_the_seed_is_the_example() -> None:
    body = OPERATIONS["POST /api/v1/publish"]["requestBody"]["content"]["application/json"]
    assert SAMPLE in [example["value"] for example in body["examples"].values()]
    assert {"platform", "account_id", "schedule_time", "priority"} <= set(body["schema"]["properties"])


def test_the_stream_is_described_beside_the_list() -> None:
    content = OPERATIONS["POST /api/v1/publish/batch"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/x-ndjson"}


def test_accepted_tasks_say_where_they_are() -> None:
    for name in ("POST /api/v1/publish", "POST /api/v1/publish/batch"):
        assert "Location" in OPERATIONS[name]["responses"]["202"]["headers"]


def test_every_error_code_has_a_status_and_a_meaning() -> None:
    meanings = meaning_of_codes()
    assert set(meanings) == set(STATUS_OF_CODE)
    assert all(meanings.values())


def test_every_error_code_a_client_can_meet_is_in_the_document() -> None:
    described = str(SCHEMA["paths"])
    start_only = {"settings_error", "bad_input", "unavailable", "route_not_found", "method_not_allowed"}
    for code in set(STATUS_OF_CODE) - start_only:
        assert f"`{code}`" in described, code


def test_a_token_is_documented_where_one_is_asked_for() -> None:
    schema = make_app("a long secret").openapi_schema.to_schema()
    assert schema["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert schema["security"] == [{"bearer": []}]
    assert "security" not in SCHEMA
