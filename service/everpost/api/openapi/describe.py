"""Describes every route for OpenAPI: its bodies, answers, headers and errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    Reference,
    RequestBody,
)

from everpost.api.http.json_answer import JSON
from everpost.api.http.problems import PROBLEM_JSON, STATUS_OF_CODE, ProblemDetails
from everpost.error_codes import meaning_of_codes

EVERYWHERE = (
    "bad_input",
    "unauthorized",
    "forbidden",
    "out_of_scope",
    "rate_limited",
    "foreign_host",
    "foreign_origin",
    "unsupported_transfer_coding",
    "invalid_value",
    "internal_error",
    "database_busy",
    "database_unwritable",
    "write_unconfirmed",
    "database_unusable",
    "database_damaged",
)
WITH_BODY = ("malformed_json", "body_too_large", "unsupported_media_type")
WITH_ID = ("task_not_found",)


@dataclass(frozen=True)
class Header:
    """A header of a request or an answer."""

    name: str
    description: str
    example: str
    pattern: str | None = None


@dataclass(frozen=True)
class Body:
    """A request body: its type by media type, its purpose, and examples by name, as JSON and in the other type.

    `required` is whether a request must have it.
    """

    description: str
    media: Mapping[str, Any]
    examples: Mapping[str, Any]
    other_examples: Mapping[str, Any] = field(default_factory=dict)
    required: bool = True


REFERENCE = "#/components/schemas/{name}"
BODY_TYPES: list[Any] = []
"""The types of all request bodies."""

RETRY_AFTER = Header("Retry-After", "Seconds after which the same request may succeed.", "5")


def documented(
    answer: Any,
    *,
    status: int = 200,
    description: str = "It was done.",
    refusals: Sequence[str] = (),
    body: Body | None = None,
    takes: Sequence[Header] = (),
    gives: Sequence[Header] = (),
    media_type: str = JSON,
    others: Mapping[int, Any] = MappingProxyType({}),
    also: Mapping[int, str] = MappingProxyType({}),
    besides: Mapping[int, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """The keyword arguments of a route decorator that describe the route.

    Args:
        answer: The type of the answer with `status`; None if its content has no fixed form.
        refusals: Codes of the route's errors, in addition to those of all routes.
        takes: Headers of the request.
        gives: Headers of the answer with `status`.
        also: Other statuses of the same answer, with their meaning; they have the headers of `gives` too.
        besides: Types of answers with other statuses of success; their docstrings say what they mean.
        others: Types of answers that are not problems but have the status of one.
    """
    success = _response(answer, description, media_type)
    codes = [*EVERYWHERE, *refusals, *(WITH_BODY if body else ())]
    problems = problem_responses(codes)
    same = {
        other: _response(None if other == HTTPStatus.NO_CONTENT else answer, meaning, media_type)
        for other, meaning in also.items()
    }
    same |= {other: _response(kind, kind.__doc__.partition("\n")[0], media_type) for other, kind in besides.items()}
    responses = {status: success, **same, **problems, **_other_responses(others, problems)}
    headers: dict[str, Sequence[Header]] = {str(code): () for code in responses}
    headers |= {str(STATUS_OF_CODE[code].value): (RETRY_AFTER,) for code in ("unavailable", "rate_limited")}
    headers |= {str(code): gives for code in (status, *also)}
    # Litestar wants handlers of 204 to return None, and not an answer with headers; the answer has its own status.
    of_route = HTTPStatus.OK if status == HTTPStatus.NO_CONTENT else status
    return {"status_code": of_route, "responses": responses, "operation_class": _operation_class(body, takes, headers)}


def _response(answer: Any, description: str, media_type: str = JSON) -> ResponseSpec:
    return ResponseSpec(answer, generate_examples=False, description=description, media_type=media_type)


def _other_responses(others: Mapping[int, Any], problems: Mapping[int, ResponseSpec]) -> dict[int, ResponseSpec]:
    described = {status: f"{answer.__doc__}\n{problems[status].description}" for status, answer in others.items()}
    return {status: _response(answer | ProblemDetails, described[status]) for status, answer in others.items()}


def problem_responses(codes: Sequence[str]) -> dict[int, ResponseSpec]:
    """The problem responses of a route, one per status, each with its codes."""
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(STATUS_OF_CODE[code], []).append(code)
    return {int(status): _problem_response(tuple(by_status[status])) for status in sorted(by_status)}


@lru_cache
def _problem_response(codes: tuple[str, ...]) -> ResponseSpec:
    """The response of a status that has these codes; many routes share it."""
    meanings = meaning_of_codes()
    return _response(ProblemDetails, "\n".join(f"- `{code}`: {meanings[code]}" for code in codes), PROBLEM_JSON)


@dataclass
class _DocumentedOperation(Operation):
    """The operation of a route, whose subclass of this has what `_operation_class` is given."""

    body: ClassVar[Body | None]
    takes: ClassVar[Sequence[Header]]
    gives: ClassVar[Mapping[str, Sequence[Header]]]

    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or []), *map(_request_header, self.takes)] or None
        self.request_body = None if self.body is None else _request_body(self.body)
        self.responses = {code: self.responses[code] for code in self.gives} if self.responses else None
        for code, response in (self.responses or {}).items():
            if isinstance(response, OpenAPIResponse):
                response.headers = {
                    header.name: OpenAPIHeader(schema=_TEXT, description=header.description, example=header.example)
                    for header in self.gives[code]
                } or None


def _operation_class(
    body: Body | None, takes: Sequence[Header], gives: Mapping[str, Sequence[Header]]
) -> type[Operation]:
    """Tells Litestar what it cannot see: bodies that handlers read themselves, and headers of answers.

    `gives` has the headers by status. Responses with other statuses are guesses of Litestar, and are left out.
    """
    return type("DocumentedOperation", (_DocumentedOperation,), {"body": body, "takes": takes, "gives": gives})


def _request_header(header: Header) -> Parameter:
    schema: Any = _TEXT if header.pattern is None else {**_TEXT, "pattern": header.pattern}
    return Parameter(
        name=header.name, param_in="header", schema=schema, description=header.description, example=header.example
    )


_TEXT: Any = {"type": "string"}


def _request_body(body: Body) -> RequestBody:
    content = {
        media_type: OpenAPIMediaType(schema=body_schema(wanted), examples=_examples(body, media_type))
        for media_type, wanted in body.media.items()
    }
    return RequestBody(content=content, required=body.required, description=body.description)


def _examples(body: Body, media_type: str) -> dict[str, Example | Reference]:
    examples = body.examples if media_type == JSON else body.other_examples
    return {name: Example(summary=name, value=value) for name, value in examples.items()}


def body_schema(wanted: Any) -> Any:
    """The JSON Schema of a body's type; `refine.py` moves the schemas it refers to among the components."""
    if wanted not in BODY_TYPES:
        BODY_TYPES.append(wanted)
    (schema,), _ = msgspec.json.schema_components([wanted], ref_template=REFERENCE)
    return schema
