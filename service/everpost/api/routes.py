"""Every route there is, and where it is mounted."""

from collections.abc import Sequence

from litestar import Router
from litestar.types import ControllerRouterHandler

from everpost.api.batches import publish_batch
from everpost.api.bulk import cancel_tasks, delete_tasks, retry_tasks, show_operation
from everpost.api.dispatch import resume_dispatch, show_dispatch
from everpost.api.health import show_liveness, show_readiness
from everpost.api.lists import complete_id, list_recent_ends, list_tasks
from everpost.api.metrics import show_metrics
from everpost.api.publish import publish_task
from everpost.api.removal import archive_tasks, clear_tasks, delete_task
from everpost.api.resolution import resolve_task
from everpost.api.stats import list_platforms, show_queue_health, show_stats
from everpost.api.tasks import cancel_task, retry_task, show_task

PREFIX = "/api/v1"
DIRECT = (f"{PREFIX}/publish", f"{PREFIX}/tasks/retry/{{task_id}}")
"""Those that `service/everpost/api/direct.py` serves."""

HANDLERS = (
    publish_task,
    publish_batch,
    list_platforms,
    list_tasks,
    complete_id,
    list_recent_ends,
    show_stats,
    show_queue_health,
    show_task,
    retry_task,
    resolve_task,
    cancel_task,
    delete_task,
    retry_tasks,
    cancel_tasks,
    delete_tasks,
    clear_tasks,
    archive_tasks,
    show_operation,
    show_dispatch,
    resume_dispatch,
)


def api_routes() -> Sequence[ControllerRouterHandler]:
    """The routes, for `Litestar(route_handlers=...)`."""
    api = Router(PREFIX, route_handlers=HANDLERS)
    return [api, show_liveness, show_readiness, show_metrics]
