"""The OpenAPI document as a page to read and to try requests with.

The page is made by hand because every viewer that Litestar has a plugin for loads scripts from elsewhere.
"""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, Router, get
from litestar.openapi.plugins import OpenAPIRenderPlugin

from everpost.api.http.json_answer import JsonAnswer
from everpost.api.openapi.refine import refined
from everpost.api.services import ApiRequest

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("page.js").read_bytes()

# The only script is Everpost's, and it connects only to this server.
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)

Document = Mapping[str, Any]


@get("/document.js", include_in_schema=False)
async def show_script(request: ApiRequest) -> JsonAnswer:
    """Answer with the page's script."""
    del request
    return JsonAnswer(SCRIPT, media_type="text/javascript; charset=utf-8")


class PageRenderPlugin(OpenAPIRenderPlugin):
    """Renders the document as one page, once: who asks needs no token."""

    _rendered = b""

    def __init__(self, *, path: str) -> None:
        super().__init__(path=path, favicon="", style="")

    def receive_router(self, router: Router) -> None:
        """Serve the page's script beside it."""
        router.register(show_script)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The page."""
        del request
        self._rendered = self._rendered or "".join(page_of(refined(openapi_schema))).encode()
        return self._rendered


def page_of(document: Document) -> Iterator[str]:
    """The page, in pieces."""
    info = document["info"]
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    yield '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
    yield "<script type='module' src='/schema/document.js'></script>"
    yield f"<style>{STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
    yield f"<p>{_prose(info['description'])}</p><p>For machines: <a href='/schema/openapi.json'>openapi.json</a></p>"
    if "security" in document:
        yield "<p><label>Token, for the requests you try here: <input id=token type=password size=40></label></p>"
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
        yield f"<p>Schema: {_types(media['schema'])}</p>"
    yield "<h4>Answers</h4><table>"
    for status, answer in operation["responses"].items():
        types = ", ".join(_types(media["schema"]) for media in answer.get("content", {}).values())
        yield f"<tr><td>{status}<td>{_prose(answer['description'])}<td>{types}</tr>"
    yield "</table><h4>Try it</h4>"
    yield from _form(path, method, operation)
    yield "</details>"


def _form(path: str, method: str, operation: Document) -> Iterator[str]:
    yield f'<form data-method="{method.upper()}" data-path="{escape(path)}">'
    for parameter in operation.get("parameters", ()):
        yield from _field(parameter)
    for media_type, media in list(operation.get("requestBody", {}).get("content", {}).items())[:1]:
        example = next(iter(media["examples"].values()))["value"]
        yield f'<input type="hidden" name="media_type" value="{media_type}">'
        yield f'<label>body<textarea name="body" rows="9">{_indented(example)}</textarea></label>'
    yield "<button>Send</button><output></output></form>"


def _field(parameter: Document) -> Iterator[str]:
    name, place = escape(parameter["name"]), parameter["in"]
    required = " required" if place == "path" else ""
    values = parameter["schema"].get("enum")
    yield f"<label>{name}"
    if values is None:
        yield f'<input name="{name}" data-in="{place}"{required}>'
    else:
        options = "".join(f"<option>{escape(str(value))}</option>" for value in values)
        yield f'<select name="{name}" data-in="{place}"{required}>{options}</select>'
    yield "</label>"


def _types(schema: Document) -> str:
    """The named types in a schema, as links."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    parts = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
    if parts:
        return " or ".join(filter(None, map(_types, parts)))
    return f"list of {_types(schema['items'])}" if "items" in schema else ""


def _prose(text: str) -> str:
    parts = escape(text).replace("\n- ", "<br>").removeprefix("- ").split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))


def _json(value: Any) -> str:
    return f"<pre>{_indented(value)}</pre>"


def _indented(value: Any) -> str:
    return escape(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
