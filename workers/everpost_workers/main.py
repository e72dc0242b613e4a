"""The worker's composition root: from settings to a `BatchWorker`."""

import logging
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from arq.connections import ArqRedis
from arq.worker import func

from everpost.clock import BootClock, Clock, system_boot_clock
from everpost.errors import Unavailable
from everpost.failpoints import failpoint, watch_failpoints
from everpost.queue.codec import FUNCTION, deserialize, serialize
from everpost.queue.keys import EVENTS, PARKED, QUEUE_NAMES, RESULTS_KEY
from everpost.queue.overwritten_keys import set_aside
from everpost.queue.pool import connection_pool
from everpost.settings import Settings
from everpost.stopping import end_process_in, process_budget_s
from everpost_workers.attempts.attempt import PublishFailedError
from everpost_workers.ends.results import serializer_like
from everpost_workers.engine import BatchWorker
from everpost_workers.process_end import end_blocked_process
from everpost_workers.publish_worker import PublishWorker
from everpost_workers.publishers.registry import Overrides

if TYPE_CHECKING:  # most workers make no traces
    from everpost.tracing.spans import Tracing

UNLIMITED_TRIES = 1_000_000  # attempts are counted in the ledger, which a restart of Redis does not reset
LARGEST_PAYLOAD_BYTES = 64 * 1024 * 1024  # a minimum, because tasks accepted under a larger limit must fit too
PAYLOAD_FACTOR = 8  # JSON that is encoded again has at most this many times the bytes of its body
PUBLISHER_GRACE_S = 30  # added to the publisher's own time limit, which ends an attempt first


def create_worker(
    settings: Settings,
    *,
    publishers: Overrides = MappingProxyType({}),
    clock: Clock | None = None,
    boot_clock: BootClock = system_boot_clock,
    handle_signals: bool = True,
    tracing: "Tracing | None" = None,
) -> BatchWorker:
    """A worker, ready for `run()`.

    A cell is a second start of this process's program. In a cell, this function does not return; it serves the worker
    that started the cell (see `isolation.py`).

    Args:
        publishers: Publishers by name, instead of the installed ones; for tests.
        clock: Used instead of the store's.
        handle_signals: The process belongs to the worker: signals stop it, and suspects run in cells.
        tracing: Makes spans of attempts; None makes none.

    Raises:
        SettingsError: A setting, the catalogue or a publisher's option is wrong.
    """
    watch_failpoints(settings.failpoints)
    _expect_failures()
    worker = PublishWorker(
        settings,
        publishers=publishers,
        clock=clock,
        boot_clock=boot_clock,
        owns_process=handle_signals,
        tracing=tracing,
    )
    worker.engine = BatchWorker(
        [func(worker.publish, name=FUNCTION)],
        queue_names=QUEUE_NAMES,
        on_startup=worker.start,
        on_shutdown=worker.stop,
        on_claim=worker.on_claim,
        on_complete=worker.on_complete,
        on_released=worker.on_released,
        elsewhere_index=PARKED,
        event_stream=EVENTS,
        on_leftovers=worker.on_leftovers,
        on_blocked=end_blocked_process if handle_signals else None,
        on_stopping=partial(end_process_in, process_budget_s(settings.shutdown_wait)) if handle_signals else None,
        on_wrong_type=set_aside,
        outages=(Unavailable,),
        clock=worker.now_ms,
        may_claim=worker.has_store,
        failpoint=failpoint,
        own_connections=True,
        serializer_like=serializer_like,
        blocked_s=settings.job_timeout + PUBLISHER_GRACE_S,
        result_index=RESULTS_KEY,
        slim_results=True,
        max_payload_bytes=max(LARGEST_PAYLOAD_BYTES, PAYLOAD_FACTOR * settings.max_body),
        lease=settings.lease,
        handle_signals=handle_signals,
        **_arq_settings(settings),
    )
    return worker.engine


def _arq_settings(settings: Settings) -> dict[str, Any]:
    """What arq's own worker takes too."""
    serializers: dict[str, Any] = {"job_serializer": serialize, "job_deserializer": deserialize}
    return {
        **serializers,
        "redis_pool": ArqRedis(connection_pool(settings.redis_address), **serializers),
        "max_jobs": settings.max_jobs,
        "max_tries": UNLIMITED_TRIES,
        "job_timeout": settings.job_timeout + PUBLISHER_GRACE_S,
        "job_completion_wait": round(settings.shutdown_wait),
        "keep_result": settings.result_ttl,
        "allow_abort_jobs": True,
        "log_results": False,
    }


def _expect_failures() -> None:
    """Keep tracebacks of failed posts out of the log: they are outcomes, and `task.completed` logs them."""
    engine_log = logging.getLogger("arq.worker")
    if _is_defect not in engine_log.filters:
        engine_log.addFilter(_is_defect)


def _is_defect(line: logging.LogRecord) -> bool:
    error = line.exc_info[1] if line.exc_info else None
    return not isinstance(error, PublishFailedError)
