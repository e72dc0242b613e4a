"""What the OpenAPI document says beyond what Litestar finds out: bodies by name, times, statuses, problems.

Litestar describes bodies that it reads itself only, calls parameters that may be left out nullable, and knows one type
for each status.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import msgspec

from everpost.api.http.bodies import NDJSON
from everpost.api.http.json_answer import JSON
from everpost.api.http.problems import PROBLEM_JSON
from everpost.api.openapi.describe import BODY_TYPES, REFERENCE

Document = dict[str, Any]

PUBLIC_PATH = "/health/live"
PROBLEM = {"$ref": REFERENCE.format(name="ProblemDetails")}
LINE = {
    "description": "A line: an item's result, or at the end `batch_id`, `accepted`, `rejected` and `done`.",
    "type": "object",
}
STATUS = {"$ref": REFERENCE.format(name="TaskStatus")}
STATUS_FIELDS = (("TaskRow", "status"), ("TaskDetail", "status"), ("Retry", "status"), ("Decided", "status_before"))


def refined(found: Mapping[str, Any]) -> Document:
    """The document in its final form; `found` is Litestar's version."""
    document: Document = deepcopy(dict(found))
    schemas = document["components"].setdefault("schemas", {})
    _, of_bodies = msgspec.json.schema_components(BODY_TYPES, ref_template=REFERENCE)
    schemas |= {name: schema for name, schema in of_bodies.items() if name not in schemas}
    for schema in schemas.values():
        _name_times(schema)
    for type_name, field in STATUS_FIELDS:
        _name_statuses(schemas[type_name]["properties"][field])
    for operation in _operations(document):
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _without_null(parameter["schema"])
        for response in operation["responses"].values():
            _split_problems(response)
        if NDJSON in operation.get("requestBody", {}).get("content", {}):
            operation["responses"]["202"]["content"][NDJSON] = {"schema": LINE}
    document["paths"][PUBLIC_PATH]["get"]["security"] = []
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _operations(document: Document) -> Iterator[Document]:
    for methods in document["paths"].values():
        yield from methods.values()


def _name_times(schema: Document) -> None:
    """Times are RFC 3339, except for unreadable ones in rows of an original file."""
    for name, field in schema.get("properties", {}).items():
        if name.endswith("_at"):
            for kind in (field, *field.get("oneOf", ())):
                if kind.get("type") == "string":
                    kind["format"] = "date-time"


def _name_statuses(field: Document) -> None:
    """A row of an original file may have any other text as its status."""
    del field["type"]
    field["anyOf"] = [STATUS, {"type": "string"}]


def _without_null(schema: Document) -> Document:
    """The schema of a parameter. A parameter is given or not, and never null."""
    kinds = [kind for kind in schema.get("oneOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**kinds[0], **{name: value for name, value in schema.items() if name != "oneOf"}}


def _split_problems(response: Document) -> None:
    """If a status may be an answer or a problem, give each its media type."""
    content = response.get("content", {})
    kinds = content.get(JSON, {}).get("schema", {}).get("oneOf", [])
    if PROBLEM in kinds:
        (answer,) = (kind for kind in kinds if kind != PROBLEM)
        content[JSON]["schema"] = answer
        content[PROBLEM_JSON] = {"schema": PROBLEM}
