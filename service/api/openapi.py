"""The OpenAPI document and the page that shows it, which loads nothing from elsewhere."""

from importlib.metadata import version

from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme, Tag

from service.api.document import PageRenderPlugin

DESCRIPTION = """\
Durable publish tasks: once a client has its 202, the task is never lost, never silently published twice, and can be
retried for ever. Every refusal is an RFC 9457 problem with a `code` that never changes its meaning.
"""

TAGS = (
    Tag("Publishing", "Handing in tasks, one or many."),
    Tag("Tasks", "Looking at tasks, retrying, cancelling and deleting them."),
    Tag("Bulk", "The same on many tasks at once."),
    Tag("Dispatch", "Whether workers take tasks, and letting them begin after a backup was restored."),
    Tag("Health", "Is it alive, does it do its work, and how much of it."),
)


def openapi_config(*, with_token: bool) -> OpenAPIConfig:
    """The document's frame; the routes bring the rest."""
    bearer = SecurityScheme(type="http", scheme="bearer", description="The value of EVERPOST_TOKEN.")
    return OpenAPIConfig(
        title="Everpost",
        version=version("everpost"),
        description=DESCRIPTION,
        license=License(name="MIT", identifier="MIT"),
        tags=list(TAGS),
        path="/schema",
        render_plugins=[PageRenderPlugin(path="/"), JsonRenderPlugin(path="/openapi.json")],
        components=Components(security_schemes={"bearer": bearer}) if with_token else Components(),
        security=[{"bearer": []}] if with_token else None,
    )
