"""The OpenAPI document's frame, and its two forms: JSON, and a page to read and try requests."""

from typing import Any

from litestar import Litestar, Request, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Contact, License, SecurityScheme, Tag
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition

from everpost.api.http.rights import PUBLIC
from everpost.api.openapi.page import PageRenderPlugin
from everpost.api.openapi.refine import Document, refined
from everpost.release import running_version

DESCRIPTION = """\
Durable publish tasks: once a client has its 202, the task is never lost, never silently published twice, and can be
retried for ever. Every refusal is an RFC 9457 problem with a `code` that never changes its meaning.
"""

TAGS = (
    Tag("Publishing", "Submitting tasks, one or many."),
    Tag("Tasks", "Looking at tasks, retrying, cancelling and deleting them."),
    Tag("Events", "Following what happens to tasks."),
    Tag("Bulk", "The same on many tasks at once."),
    Tag("Files", "Uploading media, and looking at it."),
    Tag("Accounts", "The accounts that tasks are published with: credentials by reference, pauses, tests."),
    Tag("Limits", "How many tasks run at once and in a time; pausing platforms and accounts."),
    Tag("Recurring", "Posts that are made again and again."),
    Tag("Keys", "API keys: roles, scopes, rates; and who you are."),
    Tag("Audit", "Who did what, when, from where, and why."),
    Tag("Callbacks", "What was told to the addresses that tasks gave, and telling it again."),
    Tag("Dispatch", "Whether workers take tasks, and letting them begin after a backup was restored."),
    Tag("Health", "Is it alive, does it do its work, and how much of it."),
)
ALIASES = frozenset({"list", "status"})  # the original's second paths to a list and a task


class RefinedJson(JsonRenderPlugin):
    """Renders the refined document, once: who asks needs no token, and Litestar's own would render it each time."""

    _rendered = b""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The document."""
        self._rendered = self._rendered or super().render(request, refined(openapi_schema))
        return self._rendered


def openapi_config(*, with_token: bool) -> OpenAPIConfig:
    """The document's frame; the routes add the rest. It contains no secrets, so it needs no token."""
    bearer = SecurityScheme(type="http", scheme="bearer", description="EVERPOST_TOKEN, or an API key.")
    return OpenAPIConfig(
        title="Everpost",
        version=running_version(),
        description=DESCRIPTION,
        contact=Contact(name="The Everpost authors"),
        license=License(name="MIT", identifier="MIT"),
        tags=list(TAGS),
        operation_id_creator=operation_id,
        openapi_router=Router("/schema", route_handlers=[], include_in_schema=False, opt={PUBLIC: True}),
        render_plugins=[PageRenderPlugin(path="/"), RefinedJson(path="/openapi.json")],
        components=Components(security_schemes={"bearer": bearer}),
        security=[{"bearer": []}] if with_token else [{}, {"bearer": []}],  # none is needed until a key is made
    )


def operation_id(handler: HTTPRouteHandler, method: Method, path: list[str | PathParameterDefinition]) -> str:
    """The operation's name in generated clients: its handler's name."""
    del method
    names = [part for part in path if isinstance(part, str)]
    return f"{handler.handler_name}_alias" if names[-1] in ALIASES else handler.handler_name


def document_of(app: Litestar) -> Document:
    """The document as it is served."""
    return refined(app.openapi_schema.to_schema())
