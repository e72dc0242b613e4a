"""Assembles the services on an open store and a connected queue, step by step."""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from everpost.actions.accounts import AccountAdmin
from everpost.actions.bulk import Bulk
from everpost.actions.calling_back import CallbackStart, CallingChanges
from everpost.actions.cancel import Cancellations
from everpost.actions.edit import Edits, EditTools
from everpost.actions.fanout import Fanouts
from everpost.actions.keys import KeyAdmin
from everpost.actions.limits import LimitChanges
from everpost.actions.named_things import NamedThings
from everpost.actions.publish import Acceptance
from everpost.actions.recurring import RecurringPosts, RecurringTools
from everpost.actions.remove import Removals
from everpost.actions.resolve import Resolutions
from everpost.actions.resume import Resumption
from everpost.actions.retry import Retries, RetryTools
from everpost.actions.sessions import Sessions
from everpost.actions.submitted_files import SubmittedFiles
from everpost.actions.telling import ToldChanges
from everpost.api.export_slots import ExportSlots
from everpost.api.keys_in_use import KeysInUse
from everpost.api.oidc.provider import Provider
from everpost.api.services import Services
from everpost.api.spool import Spools
from everpost.clock import Clock
from everpost.files.lookup import FileLookup
from everpost.files.uploads import Uploads
from everpost.platforms import Catalogue
from everpost.queue.shared_metrics import SharedMetrics
from everpost.queue.task_queue import TaskQueue
from everpost.settings import Settings
from everpost.store import Store
from everpost.store.account_zones import AccountZones, zones_in
from everpost.store.disk_room import DiskRoom
from everpost.task.submission import SubmissionReader
from everpost.views.callback_views import CallbackViews
from everpost.views.events.details import EventDetails
from everpost.views.events.feed import Feed
from everpost.views.exported_tasks import TaskExport
from everpost.views.fanout_views import FanoutViews
from everpost.views.hiding import Hiding
from everpost.views.task_views import TaskViews
from everpost.views.waiting import EndWaiter

if TYPE_CHECKING:  # it loads OpenTelemetry
    from everpost.tracing.spans import Tracing


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What the services stand on: the settings, and what is open."""

    settings: Settings
    catalogue: Catalogue
    clock: Clock
    store: Store
    queue: TaskQueue
    metrics: SharedMetrics
    files: FileLookup
    hiding: Hiding
    tracing: "Tracing | None" = None

    @property
    def folder(self) -> Path:
        """The folder of the database, and of answers that wait for their clients."""
        return self.settings.database_path.absolute().parent


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that check what clients send, and what it names."""

    reader: SubmissionReader
    zones: AccountZones
    limits: LimitChanges
    accounts: AccountAdmin
    files: SubmittedFiles
    named: NamedThings


def assemble(ground: Ground) -> Services:
    """The services of an application."""
    store, queue, clock = ground.store, ground.queue, ground.clock
    checks = _checks(ground)
    room = DiskRoom(ground.folder, ground.settings.min_free_disk)
    acceptance = _acceptance(ground, room)
    event_details = EventDetails(store.history, ground.catalogue, ground.hiding)
    feed = Feed(queue.event_log, event_details)
    waiter = EndWaiter(store.ledger, feed)
    callbacks = CallbackStart(store.relay, queue.enqueuer)
    changes = CallingChanges(ToldChanges(store.changes, queue.events), callbacks)
    retrying = _retry_tools(ground, checks, acceptance, callbacks)
    editing = _edit_tools(ground, checks)
    retries, cancellations = Retries(retrying), Cancellations(changes, queue, clock)
    bulk = Bulk(store, retrying, editing)
    keys = KeyAdmin(store, ground.catalogue, clock, ground.settings.token)
    return Services(
        settings=ground.settings,
        clock=clock,
        catalogue=ground.catalogue,
        queue=queue,
        store=store,
        reader=checks.reader,
        zones=checks.zones,
        acceptance=acceptance,
        retries=retries,
        cancellations=cancellations,
        removals=Removals(changes, clock),
        resolutions=Resolutions(changes, store.history, retries, clock),
        bulk=bulk,
        fanouts=Fanouts(store.batches, acceptance, checks.reader, bulk, clock),
        edits=Edits(editing),
        recurring=RecurringPosts(_recurring_tools(ground, checks, cancellations)),
        resumption=Resumption(store, queue, clock),
        limits=checks.limits,
        accounts=checks.accounts,
        keys=keys,
        provider=None if ground.settings.oidc_issuer is None else Provider.of(ground.settings),
        sessions=Sessions(store.keys, keys.directory, clock, ground.settings.token),
        tasks=TaskViews(store.history, queue.jobs, queue.progress, waiter, queue.gates, store.limits, ground.hiding),
        hiding=ground.hiding,
        export=TaskExport(store.history, queue.gates, ground.hiding),
        export_slots=ExportSlots(),
        fanout_views=FanoutViews(store.batches, queue.jobs),
        callback_views=CallbackViews(store.history, ground.hiding.redactor),
        waiter=waiter,
        feed=feed,
        event_details=event_details,
        keys_in_use=KeysInUse(),
        spools=Spools(ground.folder, room),
        uploads=Uploads(store.files, ground.settings, clock),
        files=ground.files,
        submitted_files=checks.files,
        metrics=ground.metrics,
    )


def _checks(ground: Ground) -> Checks:
    settings, catalogue, store = ground.settings, ground.catalogue, ground.store
    limits = LimitChanges(store, ground.queue, catalogue, ground.clock, settings.zone)
    accounts = AccountAdmin(store, catalogue, ground.clock, limits)
    files = SubmittedFiles(ground.files)
    return Checks(
        reader=SubmissionReader(
            catalogue,
            settings.zone,
            has_inherited_files=bool(ground.files.has_inherited),
            signs_callbacks=bool(settings.callback_secrets),
        ),
        zones=AccountZones(catalogue, settings.zone, zones_in(store.accounts)),
        limits=limits,
        accounts=accounts,
        files=files,
        named=NamedThings(files, accounts),
    )


def _acceptance(ground: Ground, room: DiskRoom) -> Acceptance:
    return Acceptance(
        ground.store,
        ground.queue,
        ground.clock,
        accepted_by=f"{socket.gethostname()}:{os.getpid()}",
        tally=ground.metrics.tally,
        room=room,
        max_backlog=ground.settings.max_backlog,
        tracing=ground.tracing,
    )


def _retry_tools(ground: Ground, checks: Checks, acceptance: Acceptance, callbacks: CallbackStart) -> RetryTools:
    return RetryTools(
        changes=ground.store.changes,
        ledger=ground.store.ledger,
        queue=ground.queue,
        acceptance=acceptance,
        catalogue=ground.catalogue,
        clock=ground.clock,
        zone=ground.settings.zone,
        zones=checks.zones,
        has_inherited_files=bool(ground.files.has_inherited),
        reader=checks.reader,
        max_body=ground.settings.max_body,
        callbacks=callbacks,
        named=checks.named.check,
    )


def _edit_tools(ground: Ground, checks: Checks) -> EditTools:
    return EditTools(
        changes=ToldChanges(ground.store.changes, ground.queue.events),
        relay=ground.store.relay,
        queue=ground.queue,
        reader=checks.reader,
        zones=checks.zones,
        named=checks.named,
        clock=ground.clock,
        max_body=ground.settings.max_body,
    )


def _recurring_tools(ground: Ground, checks: Checks, cancellations: Cancellations) -> RecurringTools:
    return RecurringTools(
        recurring=ground.store.recurring,
        cancellations=cancellations,
        reader=checks.reader,
        named=checks.named,
        zones=checks.zones,
        clock=ground.clock,
    )
