"""The reference of the HTTP routes, made from the OpenAPI document: a table, and each route's details."""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from everpost.api.http.rights import PUBLIC, right_of
from everpost.api.openapi.describe import EVERYWHERE, WITH_BODY
from everpost.api.openapi.frame import document_of
from everpost.app import create_app
from everpost.settings import temporary_settings
from marked_text import apart, table

Document = Mapping[str, Any]
Route = tuple[str, str, Mapping[str, Any]]
"""Method, path and operation."""

JSON = "application/json"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SHOWN_CHARACTERS = 220  # of a description in the table


def document() -> Document:
    """The OpenAPI document as an API serves it, each operation with its `right`; nothing is opened for it."""
    app = create_app(temporary_settings(Path(), redis="redis://127.0.0.1:1/0"))
    found: Document = document_of(app)
    for route in app.routes:
        operations = found["paths"].get(getattr(route, "path_format", ""), {})
        for handler in getattr(route, "route_handlers", ()):
            for method in {name.lower() for name in handler.http_methods} & set(operations):
                operations[method]["right"] = "nothing" if handler.opt.get(PUBLIC) else f"`{right_of(handler).value}`"
    return found


def routes(of: Document) -> list[Route]:
    """Every route, by path; the document has them in another order each time."""
    found = [
        (method.upper(), path, operation)
        for path, operations in of["paths"].items()
        for method, operation in operations.items()
    ]
    return sorted(found, key=lambda route: (route[1], METHODS.index(route[0])))


def by_tag(of: Document) -> Iterator[tuple[str, str, list[Route]]]:
    """Each tag with its description and its routes."""
    found = routes(of)
    for tag in of["tags"]:
        yield tag["name"], tag["description"], [route for route in found if tag["name"] in route[2]["tags"]]


def routes_table(of: Document) -> list[str]:
    """The routes by tag, each with its summary and the first sentences of its description."""
    lines: list[str] = []
    for name, description, tagged in by_tag(of):
        rows = [(f"`{method} {path}`", operation["right"], _in_short(operation)) for method, path, operation in tagged]
        lines += ["", f"**{name}.** {description}", "", *table(("route", "needs", "meaning"), rows)]
    return lines[1:]


def _in_short(operation: Mapping[str, Any]) -> str:
    shown = f"{operation['summary']}."
    for sentence in re.split(r"(?<=[.;])\s+", operation.get("description", "")):
        if len(shown) + len(sentence) > SHOWN_CHARACTERS:
            break
        shown = f"{shown} {sentence}"
    return f"{shown.rstrip('.;')}."


def routes_details(of: Document) -> str:
    """What each route takes and answers."""
    lines = [
        f"All routes may answer {_listed(EVERYWHERE)} too, and those with a body {_listed(WITH_BODY)}.",
        "The fields of answers are in `/schema`.",
    ]
    for name, _, tagged in by_tag(of):
        lines += ["", f"### {name}", ""]
        for route in tagged:
            lines += _details(of, *route)
    return "\n".join(lines)


def _listed(codes: Sequence[str]) -> str:
    return ", ".join(f"`{code}`" for code in codes)


def _details(of: Document, method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"#### {method} {path}", "", apart(operation.get("description", operation["summary"])))
    yield from ("", f"Needs: {operation['right']}.")
    if parameters := operation.get("parameters"):
        rows = [_parameter(of, parameter) for parameter in parameters]
        yield from ("", *table(("parameter", "where", "values", "meaning"), rows))
    yield from _body(of, operation.get("requestBody"))
    yield from ("", *table(("answer", "meaning"), list(_answers(operation["responses"]))))


def _parameter(of: Document, parameter: Mapping[str, Any]) -> tuple[str, ...]:
    needed = "; required" if parameter.get("required") else ""
    shown = parameter.get("description", "")
    return f"`{parameter['name']}`", f"{parameter['in']}{needed}", values(of, parameter["schema"]), shown


def _body(of: Document, body: Mapping[str, Any] | None) -> Iterator[str]:
    """The forms of the body, the fields of each JSON object, and the first example."""
    if body is None:
        return
    types = ", ".join(f"`{media_type}`" for media_type in body["content"])
    yield from ("", f"**Body** ({types}): {body.get('description', '')}")
    media = body["content"].get(JSON) or next(iter(body["content"].values()))
    fields = list(_fields(of, media.get("schema", {})))
    if fields:
        yield from ("", *table(("field", "values", "meaning"), fields))
    for title, example in list(media.get("examples", {}).items())[:1]:
        shown = msgspec.json.format(msgspec.json.encode(example["value"]), indent=2).decode()
        yield from ("", f"{title}:", "", "```json", shown, "```")


def _fields(of: Document, schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, ...]]:
    """The fields of an object, or of each object that a body may be, and those of objects in it."""
    schema = resolved(of, schema)
    for option in schema.get("anyOf", schema.get("oneOf", ())):
        yield from _fields(of, option, prefix)
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        needed = "; required" if name in required else ""
        yield f"`{prefix}{name}`", f"{values(of, field)}{needed}", described(of, field)
        for part in [field, *field.get("anyOf", ())]:
            if "$ref" in part and not prefix:
                yield from _fields(of, part, f"{name}.")


def described(of: Document, schema: Mapping[str, Any]) -> str:
    """The description of a field, which may be in one of its variants."""
    variants = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ()), resolved(of, schema)]
    found = next((variant["description"] for variant in variants if "description" in variant), "")
    return found.partition("\n\n")[0]


def resolved(of: Document, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema, or the component that it refers to."""
    if "$ref" not in schema:
        return schema
    found: Mapping[str, Any] = of["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def values(of: Document, schema: Mapping[str, Any]) -> str:
    """The values of a schema in a few words, such as `integer, 0 to 9`."""
    schema = resolved(of, schema)
    variants = schema.get("anyOf", schema.get("oneOf"))
    if variants:
        return " or ".join(dict.fromkeys(values(of, variant) for variant in variants))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kinds = schema.get("type", "any")
    kind = " or ".join(kinds) if isinstance(kinds, Sequence) and not isinstance(kinds, str) else str(kinds)
    if kind == "array":
        return f"list of {values(of, schema.get('items', {}))}"
    least, most = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    return kind + (f", {least} to {most}" if most is not None and least is not None else "")


def _answers(responses: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each status of an answer with its meaning; the codes that all routes have are left out."""
    everywhere = {*EVERYWHERE, *WITH_BODY}
    for status, response in responses.items():
        lines = response["description"].split("\n")
        kept = [line for line in lines if line.partition(":")[0].strip("- `") not in everywhere]
        shown = "; ".join(line.removeprefix("- ").rstrip(".") for line in kept if line)
        if shown:
            yield f"{status} {HTTPStatus(int(status)).phrase}", f"{shown}."
