"""The API's composition root: from settings to a Litestar application and its server."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

import structlog
import uvloop
from litestar import Litestar
from litestar.datastructures import State

from everpost.api.assembly import Ground, assemble
from everpost.api.console.problems import HANDLERS_OF_PROBLEMS
from everpost.api.console.table import console_routes
from everpost.api.files.signed import LinkCheck
from everpost.api.http.audited import Refusals
from everpost.api.http.bodies import headers_of
from everpost.api.http.credentials import Guards, check_caller
from everpost.api.http.head_requests import answer_head_as_get
from everpost.api.http.heads import HeaderLines, check_head
from everpost.api.http.parameters import check_parameters
from everpost.api.http.rates import OwnRates
from everpost.api.http.sites import SiteCheck
from everpost.api.no_events import NoEvents
from everpost.api.openapi.frame import openapi_config
from everpost.api.routes.table import api_routes
from everpost.api.server.api_server import ApiServer
from everpost.api.server.descriptors import raise_descriptor_limit
from everpost.api.services import ApiRequest
from everpost.clock import Clock
from everpost.failpoints import watch_failpoints
from everpost.files.lookup import FileLookup
from everpost.garbage import freeze_garbage
from everpost.platforms import Catalogue
from everpost.private_files import close_to_others
from everpost.queue.shared_metrics import SharedMetrics
from everpost.queue.task_queue import TaskQueue
from everpost.settings import Settings
from everpost.stopping import end_process_in, process_budget_s, stop_signals
from everpost.store import open_store
from everpost.store.meta import note_debt
from everpost.store.pause import warn_of_pause
from everpost.tracing import start_tracing
from everpost.views.hiding import Hiding
from everpost.views.request_counts import Answered

if TYPE_CHECKING:  # it loads OpenTelemetry
    from everpost.tracing.spans import Tracing

log = structlog.get_logger("everpost.api")


def create_app(settings: Settings, *, clock: Clock | None = None, tracing: "Tracing | None" = None) -> Litestar:
    """The application. Its lifespan opens the database and the connection to Redis.

    Args:
        clock: Used instead of the store's.
        tracing: Closed at the end of the lifespan; the server makes the spans of requests.

    Raises:
        SettingsError: The catalogue, the token or the address of Redis is wrong.
    """
    watch_failpoints(settings.failpoints)
    catalogue = Catalogue.read(settings.platforms)
    _ = settings.redis_address
    sites = SiteCheck(settings)
    links = LinkCheck(settings)
    guards = Guards(sites, Refusals(), OwnRates())

    async def check_request(request: ApiRequest) -> None:  # with a guard, Litestar would copy the route each time
        scope = request.scope
        headers = headers_of(request)
        check_head(scope["http_version"], cast("HeaderLines", scope["headers"]), headers)
        has_query = bool(scope["query_string"])
        if not has_query or not links.admits(request):
            sites.check(scope["method"], headers)
            await check_caller(request, headers, guards)
        if has_query:
            check_parameters(request)

    app = Litestar(
        [*api_routes(), *console_routes()],
        event_emitter_backend=NoEvents,
        lifespan=[partial(_services, settings, catalogue, clock, tracing)],
        before_request=check_request,
        exception_handlers=HANDLERS_OF_PROBLEMS,
        openapi_config=openapi_config(with_token=bool(settings.token)),
        request_max_body_size=settings.max_body,
        state=State({"answered": defaultdict(Answered)}),
        logging_config=None,  # service/everpost/logs.py configures logging
        debug=False,
        pdb_on_exception=False,
    )
    app.asgi_handler = answer_head_as_get(app.asgi_handler)
    return app


async def _opened_ground(
    settings: Settings, catalogue: Catalogue, clock: Clock | None, tracing: "Tracing | None", stack: AsyncExitStack
) -> Ground:
    """Open what the services stand on; the stack closes it."""
    store = await open_store(
        settings.database_address,
        zone=settings.zone,
        clock=clock,
        replica_lag_s=settings.replica_lag,
        redactor=settings.redactor,
    )
    stack.push_async_callback(store.close)
    clock = clock or store.meta.now_ms
    queue = TaskQueue.connect(settings.redis_address, clock, lease_s=settings.lease)
    stack.push_async_callback(queue.close)
    store.care.share_timelines(queue.timelines.note)
    queue.events.note_debt = partial(note_debt, store.meta)
    metrics = SharedMetrics(queue.server)
    metrics.start()
    stack.push_async_callback(metrics.close)
    files = FileLookup(store.files, settings)
    files.has_inherited = await store.files.has_inherited()
    return Ground(
        settings=settings,
        catalogue=catalogue,
        clock=clock,
        store=store,
        queue=queue,
        metrics=metrics,
        files=files,
        hiding=Hiding(settings.redactor),
        tracing=tracing,
    )


@asynccontextmanager
async def _services(
    settings: Settings, catalogue: Catalogue, clock: Clock | None, tracing: "Tracing | None", app: Litestar
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if tracing is not None:
            stack.push_async_callback(tracing.close)
        ground = await _opened_ground(settings, catalogue, clock, tracing, stack)
        app.state.services = services = assemble(ground)
        await warn_of_pause(services.store.meta)
        stack.push_async_callback(services.feed.close)
        stack.push_async_callback(services.waiter.close)
        stack.callback(services.uploads.close)
        await services.keys.start()
        stack.push_async_callback(services.keys.close)
        services.accounts.start()
        stack.push_async_callback(services.accounts.close)
        services.bulk.behind.start()
        stack.push_async_callback(services.bulk.behind.close)
        yield


def create_server(settings: Settings, *, tracing: "Tracing | None" = None) -> ApiServer:
    """The application, and the server that serves it at the settings' host and port.

    Args:
        tracing: Makes a span for each request; None makes none.

    Raises:
        SettingsError: A setting is wrong, or would serve strangers without a token.
    """
    settings.check_exposure()
    if settings.is_open_to_others:
        log.warning(
            "api.open_to_others", host=settings.host, meaning="every client that reaches it may publish and delete"
        )
    app = create_app(settings, tracing=tracing)

    def release() -> None:
        app.state.services.feed.release()
        app.state.services.waiter.release()

    return ApiServer(
        app,
        settings.host,
        settings.port,
        release=release,
        finish_s=settings.shutdown_wait,
        around=None if tracing is None else tracing.serve,
    )


async def serve_until_signal(settings: Settings) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then end in order: answer running requests, close the database."""
    server = create_server(settings, tracing=start_tracing(os.environ, "everpost-api"))
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in stop_signals():
        loop.add_signal_handler(number, stopping.set)
    try:
        await server.start()
        freeze_garbage()
        await stopping.wait()
        end_process_in(process_budget_s(settings.shutdown_wait))
    finally:
        await server.stop()


def serve(settings: Settings) -> None:
    """The body of `everpost api`, once logging is configured: `serve_until_signal`, on uvloop."""
    close_to_others(settings)
    raise_descriptor_limit()
    uvloop.run(serve_until_signal(settings))
