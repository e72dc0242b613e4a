"""The parts that handlers use. `service/everpost/api/assembly.py` makes one set per application."""

from typing import Any, TypeAlias

import msgspec
from litestar import Request

from everpost.actions.accounts import AccountAdmin
from everpost.actions.bulk import Bulk
from everpost.actions.cancel import Cancellations
from everpost.actions.edit import Edits
from everpost.actions.fanout import Fanouts
from everpost.actions.keys import KeyAdmin
from everpost.actions.limits import LimitChanges
from everpost.actions.publish import Acceptance
from everpost.actions.recurring import RecurringPosts
from everpost.actions.remove import Removals
from everpost.actions.resolve import Resolutions
from everpost.actions.resume import Resumption
from everpost.actions.retry import Retries
from everpost.actions.sessions import Sessions
from everpost.actions.submitted_files import SubmittedFiles
from everpost.api.export_slots import ExportSlots
from everpost.api.keys_in_use import KeysInUse
from everpost.api.oidc.provider import Provider
from everpost.api.spool import Spools
from everpost.clock import Clock
from everpost.files.lookup import FileLookup
from everpost.files.uploads import Uploads
from everpost.platforms import Catalogue
from everpost.queue.shared_metrics import SharedMetrics
from everpost.queue.task_queue import TaskQueue
from everpost.settings import Settings
from everpost.store import Store
from everpost.store.account_zones import AccountZones
from everpost.task.submission import SubmissionReader
from everpost.views.callback_views import CallbackViews
from everpost.views.events.details import EventDetails
from everpost.views.events.feed import Feed
from everpost.views.exported_tasks import TaskExport
from everpost.views.fanout_views import FanoutViews
from everpost.views.hiding import Hiding
from everpost.views.task_views import TaskViews
from everpost.views.waiting import EndWaiter

ApiRequest: TypeAlias = Request[Any, Any, Any]


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a running API."""

    settings: Settings
    clock: Clock
    catalogue: Catalogue
    queue: TaskQueue
    store: Store
    reader: SubmissionReader
    zones: AccountZones
    acceptance: Acceptance
    retries: Retries
    cancellations: Cancellations
    removals: Removals
    resolutions: Resolutions
    edits: Edits
    bulk: Bulk
    fanouts: Fanouts
    recurring: RecurringPosts
    resumption: Resumption
    limits: LimitChanges
    accounts: AccountAdmin
    keys: KeyAdmin
    sessions: Sessions
    provider: Provider | None
    tasks: TaskViews
    export: TaskExport
    export_slots: ExportSlots
    hiding: Hiding
    fanout_views: FanoutViews
    callback_views: CallbackViews
    waiter: EndWaiter
    feed: Feed
    event_details: EventDetails
    keys_in_use: KeysInUse
    spools: Spools
    uploads: Uploads
    files: FileLookup
    submitted_files: SubmittedFiles
    metrics: SharedMetrics


def services_of(request: ApiRequest) -> Services:
    """The services of the application that serves the request; a plain look-up, for the hot path."""
    services: Services = request.scope["litestar_app"].state["services"]
    return services
