"""The parameters that `BatchWorker` has and arq's worker has not. `BatchWorker` describes each of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from arq.jobs import Serializer

from everpost_workers.engine.jobs import Claim, ClaimAnswer, JobOutcome
from everpost_workers.engine.lua import OnWrongType

OnClaim = Callable[[Sequence[Claim[Any]]], Awaitable[Mapping[str, ClaimAnswer]]]
OnComplete = Callable[[Sequence[JobOutcome[Any]]], Awaitable[None]]
OnReleased = Callable[[Sequence[Claim[Any]]], None]


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one worker."""

    queue_names: list[str]
    lease_s: float
    on_claim: OnClaim | None
    on_complete: OnComplete | None
    on_released: OnReleased | None
    elsewhere_index: str | None
    event_stream: str | None
    wake_channel: str | None
    own_connections: bool
    serializer_like: Callable[[bytes], Serializer] | None
    blocked_s: float
    on_blocked: Callable[[], None] | None
    result_index: str | None
    slim_results: bool
    on_stopping: Callable[[], None] | None
    on_leftovers: OnComplete | None
    max_payload_bytes: int
    outages: tuple[type[Exception], ...]
    on_wrong_type: OnWrongType | None
    failpoint: Callable[[str], None]
    clock: Callable[[], int]
    may_claim: Callable[[], bool]
