"""The API's composition root: settings in, a Litestar application out; and the server that runs it."""

import asyncio
import os
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import cast

import structlog
import uvloop
from litestar import Litestar
from litestar.datastructures import State

from service.api.answers import Answered
from service.api.auth import TokenCheck
from service.api.bodies import headers_of
from service.api.descriptors import raise_descriptor_limit
from service.api.emitter import NoEvents
from service.api.head_requests import answer_head_as_get
from service.api.heads import HeaderLines, check_head
from service.api.keys import KeysInUse
from service.api.openapi import openapi_config
from service.api.parameters import check_parameters
from service.api.problems import EXCEPTION_HANDLERS
from service.api.routes import api_routes
from service.api.server import ApiServer
from service.api.services import ApiRequest, Services
from service.api.sites import SiteCheck
from service.api.spool import Spools
from service.api.waiting import EndWaiter
from service.bulk import Bulk
from service.cancel import Cancellation
from service.clock import Clock, system_clock
from service.failpoints import watch_failpoints
from service.garbage import settle_garbage
from service.intake import Intake
from service.logs import configure_logging
from service.platforms import Catalogue
from service.private_files import close_to_others
from service.queue.client import TaskQueue
from service.queue.metrics import SharedMetrics
from service.recovery import Recovery, recovery_tiers
from service.resolution import Resolution
from service.resume import Resumption
from service.settings import Settings
from service.stopping import end_process_in, process_budget_s, stop_signals
from service.store.archive import Archive
from service.store.database import Database
from service.store.decisions import Decisions
from service.store.history import History
from service.store.ledger import Ledger
from service.store.listing import Listing
from service.store.pause import Pauses, warn_of_pause
from service.store.payloads import Payloads
from service.store.room import DiskRoom
from service.submission import SubmissionReader

log = structlog.get_logger("everpost.api")


def create_app(settings: Settings, *, clock: Clock = system_clock) -> Litestar:
    """The application. It opens the database and its connection to Redis when its lifespan begins.

    Raises:
        SettingsError: The catalogue, the token or the address of Redis is wrong.
    """
    watch_failpoints(settings.failpoints)
    catalogue = Catalogue.read(settings.platforms)
    _ = settings.redis_address
    sites = SiteCheck(settings)
    tokens = TokenCheck(settings.token)

    async def check_request(request: ApiRequest) -> None:  # a guard would do, but Litestar copies the route for each
        scope = request.scope
        headers = headers_of(request)
        check_head(scope["http_version"], cast("HeaderLines", scope["headers"]), headers)
        sites.check(scope["method"], headers)
        tokens.check(request, headers)
        check_parameters(request)

    app = Litestar(
        api_routes(),
        event_emitter_backend=NoEvents,
        lifespan=[partial(_services, settings, catalogue, clock)],
        before_request=check_request,
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=openapi_config(with_token=bool(settings.token)),
        request_max_body_size=settings.max_body,
        state=State({"answered": defaultdict(Answered)}),
        logging_config=None,  # service/logs.py has done it
        debug=False,
        pdb_on_exception=False,
    )
    app.asgi_handler = answer_head_as_get(app.asgi_handler)
    return app


@asynccontextmanager
async def _services(settings: Settings, catalogue: Catalogue, clock: Clock, app: Litestar) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        database = await Database.open(settings.database_path)
        stack.push_async_callback(database.close)
        queue = TaskQueue.connect(settings.redis_address, clock)
        stack.push_async_callback(queue.close)
        metrics = SharedMetrics(queue)
        metrics.start()
        stack.push_async_callback(metrics.close)
        app.state.services = services = assemble(settings, catalogue, clock, database, queue, metrics)
        await warn_of_pause(services.pauses)
        stack.push_async_callback(services.waiter.close)
        services.bulk.start()
        stack.push_async_callback(services.bulk.close)
        yield


def assemble(
    settings: Settings,
    catalogue: Catalogue,
    clock: Clock,
    database: Database,
    queue: TaskQueue,
    metrics: SharedMetrics,
) -> Services:
    """The services on an open database and a connected queue."""
    ledger = Ledger(database)
    accepted_by = f"{socket.gethostname()}:{os.getpid()}"
    folder = settings.database_path.absolute().parent
    room = DiskRoom(folder, settings.min_free_disk)
    intake = Intake(
        ledger,
        queue,
        clock,
        accepted_by=accepted_by,
        tally=metrics.tally,
        room=room,
        max_backlog=settings.max_backlog,
    )
    listing = Listing(database, settings.zone, catalogue)
    tiers = recovery_tiers(queue, Payloads(database))
    pauses = Pauses(database)
    recovery = Recovery(tiers, ledger, queue, intake, catalogue, clock, settings.zone)
    history = History(database, settings.zone)
    return Services(
        settings=settings,
        clock=clock,
        catalogue=catalogue,
        queue=queue,
        ledger=ledger,
        history=history,
        listing=listing,
        reader=SubmissionReader(catalogue, settings.zone),
        intake=intake,
        recovery=recovery,
        resolution=Resolution(Decisions(database), history, recovery, clock),
        cancellation=Cancellation(database, queue, clock),
        bulk=Bulk(database=database, listing=listing, recovery=recovery, queue=queue, intake=intake, clock=clock),
        archive=Archive(database, clock),
        pauses=pauses,
        resumption=Resumption(pauses, queue, clock),
        waiter=EndWaiter(ledger),
        keys_in_use=KeysInUse(),
        spools=Spools(folder, room),
        metrics=metrics,
    )


def create_server(settings: Settings, *, clock: Clock = system_clock) -> ApiServer:
    """The application and the server that serves it at the settings' host and port.

    Raises:
        SettingsError: A setting is wrong, or would serve strangers without a token.
    """
    settings.check_exposure()
    if settings.is_open_to_others:
        log.warning("api.open_to_others", host=settings.host, meaning="whoever reaches it may publish and delete")
    app = create_app(settings, clock=clock)

    def release() -> None:
        app.state.services.waiter.release()

    return ApiServer(app, settings.host, settings.port, release=release, finish_s=settings.shutdown_wait)


async def serve_until_signal(
    settings: Settings,
    *,
    clock: Clock = system_clock,
    on_bound: Callable[[str], None] | None = None,
    on_stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then end in order: answer what is in flight, close the database.

    Args:
        on_bound: Called with the address once requests are accepted.
        on_stopping: Called when the signal has come.
    """
    server = create_server(settings, clock=clock)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in stop_signals():
        loop.add_signal_handler(number, stopping.set)
    try:
        address = await server.start()
        settle_garbage()
        if on_bound is not None:
            on_bound(address)
        await stopping.wait()
        on_stopping()
    finally:
        await server.stop()


def serve(settings: Settings) -> None:
    """What `everpost api` runs: `serve_until_signal` on uvloop, with logging set up."""
    configure_logging(settings)
    close_to_others(settings)
    raise_descriptor_limit()
    on_stopping = partial(end_process_in, process_budget_s(settings.shutdown_wait))
    uvloop.run(serve_until_signal(settings, on_stopping=on_stopping))
