"""The API's composition root: from settings to a Litestar application and its server."""

import asyncio
import os
import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import cast

import structlog
import uvloop
from litestar import Litestar
from litestar.datastructures import State

from everpost.actions.accounts import AccountAdmin
from everpost.actions.bulk import Bulk
from everpost.actions.calling_back import CallbackStart, CallingChanges
from everpost.actions.cancel import Cancellations
from everpost.actions.edit import Edits, EditTools
from everpost.actions.fanout import Fanouts
from everpost.actions.limits import LimitChanges
from everpost.actions.named_things import NamedThings
from everpost.actions.publish import Acceptance
from everpost.actions.recurring import RecurringPosts, RecurringTools
from everpost.actions.remove import Removals
from everpost.actions.resolve import Resolutions
from everpost.actions.resume import Resumption
from everpost.actions.retry import Retries, RetryTools
from everpost.actions.submitted_files import SubmittedFiles
from everpost.api.files.signed import LinkCheck
from everpost.api.http.bodies import headers_of
from everpost.api.http.head_requests import answer_head_as_get
from everpost.api.http.heads import HeaderLines, check_head
from everpost.api.http.parameters import check_parameters
from everpost.api.http.problems import EXCEPTION_HANDLERS
from everpost.api.http.sites import SiteCheck
from everpost.api.http.tokens import TokenCheck
from everpost.api.keys_in_use import KeysInUse
from everpost.api.no_events import NoEvents
from everpost.api.openapi.frame import openapi_config
from everpost.api.routes.table import api_routes
from everpost.api.server.api_server import ApiServer
from everpost.api.server.descriptors import raise_descriptor_limit
from everpost.api.services import ApiRequest, Services
from everpost.api.spool import Spools
from everpost.clock import Clock
from everpost.failpoints import watch_failpoints
from everpost.files.lookup import FileLookup
from everpost.files.uploads import Uploads
from everpost.garbage import freeze_garbage
from everpost.platforms import Catalogue
from everpost.private_files import close_to_others
from everpost.queue.shared_metrics import SharedMetrics
from everpost.queue.task_queue import TaskQueue
from everpost.settings import Settings
from everpost.stopping import end_process_in, process_budget_s, stop_signals
from everpost.store import Store, open_store
from everpost.store.account_zones import AccountZones, zones_in
from everpost.store.disk_room import DiskRoom
from everpost.store.pause import warn_of_pause
from everpost.task.submission import SubmissionReader
from everpost.views.callback_views import CallbackViews
from everpost.views.fanout_views import FanoutViews
from everpost.views.request_counts import Answered
from everpost.views.task_views import TaskViews
from everpost.views.waiting import EndWaiter

log = structlog.get_logger("everpost.api")


def create_app(settings: Settings, *, clock: Clock | None = None) -> Litestar:
    """The application. Its lifespan opens the database and the connection to Redis.

    Args:
        clock: Used instead of the store's.

    Raises:
        SettingsError: The catalogue, the token or the address of Redis is wrong.
    """
    watch_failpoints(settings.failpoints)
    catalogue = Catalogue.read(settings.platforms)
    _ = settings.redis_address
    sites = SiteCheck(settings)
    tokens = TokenCheck(settings.token)
    links = LinkCheck(settings)

    async def check_request(request: ApiRequest) -> None:  # with a guard, Litestar would copy the route each time
        scope = request.scope
        headers = headers_of(request)
        check_head(scope["http_version"], cast("HeaderLines", scope["headers"]), headers)
        if not links.admits(request):
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
        logging_config=None,  # service/everpost/logs.py configures logging
        debug=False,
        pdb_on_exception=False,
    )
    app.asgi_handler = answer_head_as_get(app.asgi_handler)
    return app


@asynccontextmanager
async def _services(
    settings: Settings, catalogue: Catalogue, clock: Clock | None, app: Litestar
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        store = await open_store(
            settings.database_address, zone=settings.zone, clock=clock, replica_lag_s=settings.replica_lag
        )
        stack.push_async_callback(store.close)
        clock = clock or store.meta.now_ms
        queue = TaskQueue.connect(settings.redis_address, clock, lease_s=settings.lease)
        stack.push_async_callback(queue.close)
        store.care.share_timelines(queue.timelines.note)
        metrics = SharedMetrics(queue.server)
        metrics.start()
        stack.push_async_callback(metrics.close)
        files = FileLookup(store.files, settings)
        files.has_inherited = await store.files.has_inherited()
        app.state.services = services = assemble(settings, catalogue, clock, store, queue, metrics, files)
        await warn_of_pause(services.store.meta)
        stack.push_async_callback(services.waiter.close)
        stack.callback(services.uploads.close)
        services.accounts.start()
        stack.push_async_callback(services.accounts.close)
        services.bulk.behind.start()
        stack.push_async_callback(services.bulk.behind.close)
        yield


def assemble(
    settings: Settings,
    catalogue: Catalogue,
    clock: Clock,
    store: Store,
    queue: TaskQueue,
    metrics: SharedMetrics,
    files: FileLookup,
) -> Services:
    """The services on an open store and a connected queue."""
    accepted_by = f"{socket.gethostname()}:{os.getpid()}"
    folder = settings.database_path.absolute().parent
    room = DiskRoom(folder, settings.min_free_disk)
    acceptance = Acceptance(
        store, queue, clock, accepted_by=accepted_by, tally=metrics.tally, room=room, max_backlog=settings.max_backlog
    )
    waiter = EndWaiter(store.ledger)
    reader = SubmissionReader(
        catalogue,
        settings.zone,
        has_inherited_files=bool(files.has_inherited),
        signs_callbacks=bool(settings.callback_secrets),
    )
    zones = AccountZones(catalogue, settings.zone, zones_in(store.accounts))
    limits = LimitChanges(store, queue, catalogue, clock, settings.zone)
    submitted_files = SubmittedFiles(files)
    accounts = AccountAdmin(store, catalogue, clock, limits)
    callbacks = CallbackStart(store.relay, queue.enqueuer)
    changes = CallingChanges(store.changes, callbacks)
    tools = RetryTools(
        changes=changes,
        ledger=store.ledger,
        queue=queue,
        acceptance=acceptance,
        catalogue=catalogue,
        clock=clock,
        zone=settings.zone,
        zones=zones,
        has_inherited_files=bool(files.has_inherited),
        reader=reader,
        max_body=settings.max_body,
        callbacks=callbacks,
        named=NamedThings(submitted_files, accounts).check,
    )
    retries = Retries(tools)
    cancellations = Cancellations(changes, queue, clock)
    editing = EditTools(
        changes=store.changes,
        relay=store.relay,
        queue=queue,
        reader=reader,
        zones=zones,
        files=submitted_files,
        accounts=accounts,
        clock=clock,
        max_body=settings.max_body,
    )
    bulk = Bulk(store, tools, editing)
    return Services(
        settings=settings,
        clock=clock,
        catalogue=catalogue,
        queue=queue,
        store=store,
        reader=reader,
        zones=zones,
        acceptance=acceptance,
        retries=retries,
        cancellations=cancellations,
        removals=Removals(store.changes, clock),
        resolutions=Resolutions(changes, store.history, retries, clock),
        bulk=bulk,
        fanouts=Fanouts(store.batches, acceptance, reader, bulk, clock),
        edits=Edits(editing),
        recurring=RecurringPosts(
            RecurringTools(
                recurring=store.recurring, cancellations=cancellations, reader=reader, zones=zones, clock=clock
            )
        ),
        resumption=Resumption(store, queue, clock),
        limits=limits,
        accounts=accounts,
        tasks=TaskViews(store.history, queue.jobs, queue.progress, waiter, queue.gates, store.limits),
        fanout_views=FanoutViews(store.batches, queue.jobs),
        callback_views=CallbackViews(store.history),
        waiter=waiter,
        keys_in_use=KeysInUse(),
        spools=Spools(folder, room),
        uploads=Uploads(store.files, settings, clock),
        files=files,
        submitted_files=submitted_files,
        metrics=metrics,
    )


def create_server(settings: Settings) -> ApiServer:
    """The application, and the server that serves it at the settings' host and port.

    Raises:
        SettingsError: A setting is wrong, or would serve strangers without a token.
    """
    settings.check_exposure()
    if settings.is_open_to_others:
        log.warning("api.open_to_others", host=settings.host, meaning="whoever reaches it may publish and delete")
    app = create_app(settings)

    def release() -> None:
        app.state.services.waiter.release()

    return ApiServer(app, settings.host, settings.port, release=release, finish_s=settings.shutdown_wait)


async def serve_until_signal(settings: Settings) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then end in order: answer running requests, close the database."""
    server = create_server(settings)
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
