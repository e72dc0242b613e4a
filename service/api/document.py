"""The OpenAPI document as a page to read: plain HTML, no script, nothing loaded from elsewhere."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

STYLE = (Path(__file__).parent / "document.css").read_text(encoding="utf-8")

Document = Mapping[str, Any]


class PageRenderPlugin(OpenAPIRenderPlugin):
    """Renders the document as one page."""

    def __init__(self, *, path: str) -> None:
        super().__init__(path=path, favicon="", style="")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The page."""
        del request
        return "".join(page_of(openapi_schema)).encode()


def page_of(document: Document) -> Iterator[str]:
    """The page, in pieces."""
    info = document["info"]
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
    yield '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
    yield f"<style>{STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
    yield f"<p>{_prose(info['description'])}</p><p>For machines: <a href='/schema/openapi.json'>openapi.json</a></p>"
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><p>{_prose(tag['description'])}</p>"
        for path, method, operation in _operations(document, tag["name"]):
            yield from _operation(path, method, operation)
    yield "<h2>Types</h2>"
    for name, schema in document["components"].get("schemas", {}).items():
        yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{_json(schema)}</details>'


def _operations(document: Document, tag: str) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield path, method, operation


def _operation(path: str, method: str, operation: Document) -> Iterator[str]:
    yield f'<details><summary><span class="method">{method.upper()}</span><code>{escape(path)}</code> '
    yield f"{escape(operation['summary'])}</summary><p>{_prose(operation['description'])}</p>"
    if parameters := operation.get("parameters"):
        yield "<h4>Parameters</h4><table>"
        for parameter in parameters:
            yield f"<tr><td><code>{escape(parameter['name'])}</code><td>{parameter['in']}"
            yield f"<td>{_prose(parameter['description'])}</tr>"
        yield "</table>"
    for media_type, media in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h4>Body: {escape(media_type)}</h4>"
        yield from (_json(example["value"]) for example in media["examples"].values())
        yield f"<details><summary>Schema</summary>{_json(media['schema'])}</details>"
    yield "<h4>Answers</h4><table>"
    for status, answer in operation["responses"].items():
        yield f"<tr><td>{status}<td>{_prose(answer['description'])}<td>{_types(answer)}</tr>"
    yield "</table></details>"


def _types(answer: Document) -> str:
    schemas = (media["schema"] for media in answer.get("content", {}).values())
    references = [one["$ref"] for schema in schemas for one in (schema, *schema.get("oneOf", ())) if "$ref" in one]
    names = [escape(reference.rpartition("/")[2]) for reference in references]
    return ", ".join(f'<a href="#{name}">{name}</a>' for name in names)


def _prose(text: str) -> str:
    parts = escape(text).replace("\n- ", "<br>").removeprefix("- ").split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))


def _json(value: Any) -> str:
    return f"<pre>{escape(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())}</pre>"
