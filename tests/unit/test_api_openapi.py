"""The OpenAPI document says everything of every route."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar

from everpost.api.http.problems import STATUS_OF_CODE
from everpost.api.idempotency import PATTERN, read_key
from everpost.api.openapi.frame import document_of
from everpost.api.openapi.refine import STATUS, STATUS_FIELDS
from everpost.api.routes.publish import SAMPLE
from everpost.api.routes.stats import PlatformView
from everpost.app import create_app
from everpost.error_codes import meaning_of_codes
from everpost.errors import BadInput
from everpost.platforms import Catalogue
from everpost.settings import temporary_settings
from everpost.views.filter_request import FilterRequest

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
    "POST /api/v1/files",
    "GET /api/v1/files",
    "GET /api/v1/files/{file_id}",
    "PATCH /api/v1/files/{file_id}",
    "DELETE /api/v1/files/{file_id}",
    "GET /api/v1/files/{file_id}/content",
    "GET /api/v1/dispatch",
    "POST /api/v1/dispatch/resume",
    "PATCH /api/v1/tasks/{task_id}",
    "POST /api/v1/tasks/{task_id}/publish-now",
    "POST /api/v1/tasks/batch/edit",
    "POST /api/v1/tasks/batch/publish-now",
    "GET /api/v1/recurring",
    "POST /api/v1/recurring",
    "POST /api/v1/keys",
    "POST /api/v1/keys/{key_id}/rotate",
    "GET /api/v1/recurring/{recurrence_id}",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
}
WITH_BODY = {
    "POST /api/v1/files",
    "PATCH /api/v1/files/{file_id}",
    "/api/v1/publish",
    "/api/v1/publish/batch",
    "/api/v1/publish/fanout",
    "/api/v1/publish/fanout/{fanout_id}/retry",
    "/api/v1/tasks/retry/{task_id}",
    "/api/v1/tasks/archive",
    "/api/v1/tasks/{task_id}/resolve",
    "/api/v1/tasks/batch/retry",
    "/api/v1/tasks/batch/cancel",
    "/api/v1/tasks/batch/delete",
    "PUT /api/v1/limits",
    "/api/v1/limits/pause",
    "/api/v1/limits/resume",
    "POST /api/v1/accounts",
    "PATCH /api/v1/accounts/{platform}/{account_id}",
    "/api/v1/accounts/{platform}/{account_id}/pause",
    "/api/v1/tasks/batch/edit",
    "/api/v1/tasks/batch/resolve",
    "/api/v1/tasks/batch/publish-now",
    "PATCH /api/v1/tasks/{task_id}",
    "POST /api/v1/recurring",
    "POST /api/v1/keys",
    "/api/v1/keys/{key_id}/rotate",
    "PATCH /api/v1/recurring/{recurrence_id}",
}


def make_app(token: str | None = None) -> Litestar:
    return create_app(temporary_settings(redis="redis://127.0.0.1:1/0", token=token))


SCHEMA: dict[str, Any] = document_of(make_app())
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
    assert operation["operationId"].removesuffix("_alias").isidentifier()
    assert operation["operationId"].islower()


@every_operation
def test_every_operation_describes_its_answer(name: str) -> None:
    answers = {code: answer for code, answer in OPERATIONS[name]["responses"].items() if code.startswith("2")}
    assert answers
    for code, answer in answers.items():
        assert ("content" in answer) == (code != "204")
        assert answer["description"]
        assert all(media["schema"] for media in answer.get("content", {}).values())


@every_operation
def test_every_operation_describes_its_refusals(name: str) -> None:
    responses = OPERATIONS[name]["responses"]
    assert {"401", "422", "500", "503"} <= set(responses)
    for code, answer in responses.items():
        if code.startswith(("4", "5")):
            assert "ProblemDetails" in str(answer["content"])
            assert "`" in answer["description"]
    assert "Retry-After" in responses["503"]["headers"]
    assert ("404" in responses) == ("_id}" in name)


@every_operation
def test_every_parameter_is_described(name: str) -> None:
    for parameter in OPERATIONS[name].get("parameters", []):
        assert parameter["description"], parameter["name"]
        assert parameter["schema"]


@every_operation
def test_every_body_has_a_schema_and_an_example(name: str) -> None:
    operation = OPERATIONS[name]
    assert ("requestBody" in operation) == bool(WITH_BODY & {name, name.partition(" ")[2]})
    for media in operation.get("requestBody", {}).get("content", {}).values():
        assert media["schema"]
        assert media["examples"]
        assert {"400", "413", "415"} <= set(operation["responses"])


def test_the_sample_of_the_original_is_the_example() -> None:
    body = OPERATIONS["POST /api/v1/publish"]["requestBody"]["content"]["application/json"]
    assert SAMPLE in [example["value"] for example in body["examples"].values()]
    assert body["schema"] == {"$ref": "#/components/schemas/PublishRequest"}
    fields = SCHEMA["components"]["schemas"]["PublishRequest"]["properties"]
    assert {"platform", "account_id", "schedule_time", "priority"} <= set(fields)


def test_the_stream_is_described_beside_the_list() -> None:
    content = OPERATIONS["POST /api/v1/publish/batch"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/x-ndjson"}


def references(value: Any) -> set[str]:
    """Every reference in a part of the document."""
    if isinstance(value, dict):
        return {value["$ref"]} if "$ref" in value else set().union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_reference_leads_to_a_type_and_every_type_is_used() -> None:
    assert references(SCHEMA) == {f"#/components/schemas/{name}" for name in SCHEMA["components"]["schemas"]}


def test_each_type_is_written_down_once() -> None:
    written = [str(sorted(schema.get("properties", {}))) for schema in SCHEMA["components"]["schemas"].values()]
    assert str(sorted(FilterRequest.__struct_fields__)) in written
    for operation in OPERATIONS.values():
        for media in operation.get("requestBody", {}).get("content", {}).values():
            assert "properties" not in str(media["schema"])


def test_times_are_times() -> None:
    for name, schema in SCHEMA["components"]["schemas"].items():
        for field, kind in schema.get("properties", {}).items():
            assert not field.endswith("_at") or "'format': 'date-time'" in str(kind), (name, field)


def test_values_of_which_there_are_few_are_listed() -> None:
    parameters = {
        (name, parameter["name"]): parameter["schema"]
        for name, operation in OPERATIONS.items()
        for parameter in operation.get("parameters", ())
    }
    assert parameters["POST /api/v1/tasks/clear/{what}", "what"]["enum"] == ["pending", "failed", "success", "all"]
    assert parameters["GET /api/v1/tasks", "status"]["$ref"].endswith("/TaskStatus")
    assert not any({"type": "null"} in schema.get("oneOf", ()) for schema in parameters.values())
    for type_name, field in STATUS_FIELDS:
        assert STATUS in SCHEMA["components"]["schemas"][type_name]["properties"][field]["anyOf"]


def test_a_batch_that_is_refused_says_so_of_each_item() -> None:
    content = OPERATIONS["POST /api/v1/publish/batch"]["responses"]["422"]["content"]
    assert content["application/json"]["schema"]["$ref"].endswith("/BatchAnswer")
    assert content["application/problem+json"]["schema"]["$ref"].endswith("/ProblemDetails")


@given(st.text(st.characters(codec="ascii"), max_size=300))
def test_the_documented_pattern_of_keys_matches_accepted_keys(key: str) -> None:
    try:
        read_key([key.encode()])
    except BadInput:
        assert not re.fullmatch(PATTERN, key)
    else:
        assert re.fullmatch(PATTERN, key)


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
    of_pages = {"sign_in_refused", "sign_in_unavailable"}
    for code in set(STATUS_OF_CODE) - start_only - of_pages:
        assert f"`{code}`" in described, code


def test_a_token_is_documented_where_one_is_asked_for() -> None:
    schema = document_of(make_app("a long secret"))
    assert schema["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert schema["security"] == [{"bearer": []}]
    assert SCHEMA["security"] == [{}, {"bearer": []}]


def test_everything_that_a_platform_says_of_itself_is_shown() -> None:
    described = Catalogue.read().find("douyin").describe()
    assert described.keys() == set(PlatformView.__struct_fields__)
    PlatformView(**described)
