"""Every route there is, and where it is mounted."""

from collections.abc import Sequence

from litestar import Router
from litestar.types import ControllerRouterHandler

from service.api.health import show_liveness, show_readiness
from service.api.parameters import refuse_unknown_parameters
from service.api.publish import publish_task
from service.api.tasks import retry_task, show_task

PREFIX = "/api/v1"


def api_routes() -> Sequence[ControllerRouterHandler]:
    """The routes, for `Litestar(route_handlers=...)`."""
    api = Router(PREFIX, route_handlers=[publish_task, retry_task, show_task], guards=[refuse_unknown_parameters])
    return [api, show_liveness, show_readiness]
