"""What the handlers work with: opened by `service/app.py`, one set an application."""

from typing import Any, TypeAlias, cast

import msgspec
from litestar import Request

from service.api.keys import KeysInUse
from service.api.spool import Spools
from service.api.waiting import EndWaiter
from service.bulk import Bulk
from service.cancel import Cancellation
from service.clock import Clock
from service.intake import Intake
from service.platforms import Catalogue
from service.queue.client import TaskQueue
from service.queue.metrics import SharedMetrics
from service.recovery import Recovery
from service.resolution import Resolution
from service.resume import Resumption
from service.settings import Settings
from service.store.archive import Archive
from service.store.history import History
from service.store.ledger import Ledger
from service.store.listing import Listing
from service.store.pause import Pauses
from service.submission import SubmissionReader

ApiRequest: TypeAlias = Request[Any, Any, Any]


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a running API."""

    settings: Settings
    clock: Clock
    catalogue: Catalogue
    queue: TaskQueue
    ledger: Ledger
    history: History
    listing: Listing
    reader: SubmissionReader
    intake: Intake
    recovery: Recovery
    resolution: Resolution
    cancellation: Cancellation
    bulk: Bulk
    archive: Archive
    pauses: Pauses
    resumption: Resumption
    waiter: EndWaiter
    keys_in_use: KeysInUse
    spools: Spools
    metrics: SharedMetrics


def services_of(request: ApiRequest) -> Services:
    """The services of the application that serves the request; a plain look-up, because it is on the hot path."""
    return cast("Services", request.scope["litestar_app"].state["services"])
