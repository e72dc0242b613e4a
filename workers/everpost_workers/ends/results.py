"""Results for stock arq clients: each in the serializer of its job, so that the client can read it (I8)."""

import asyncio
import pickle
from functools import partial
from typing import Any

from arq.jobs import DeserializationError, Serializer
from arq.worker import JobExecutionFailed

from everpost.queue.codec import PICKLE_PROTOCOL, is_pickle, serialize

_READABLE = (DeserializationError, JobExecutionFailed)


def serializer_like(payload: bytes) -> Serializer:
    """The serializer for the result of a job that came as `payload`.

    If the payload has expired, the job came from a stock client, and most of these read pickle.
    """
    if payload and not is_pickle(payload):
        return serialize
    return partial(_pickle, protocol=min(_protocol_of(payload), PICKLE_PROTOCOL))


def _protocol_of(payload: bytes) -> int:
    if not payload:
        return PICKLE_PROTOCOL
    return payload[1] if payload[:1] == pickle.PROTO and len(payload) > 1 else 0


def _pickle(message: dict[str, Any], protocol: int) -> bytes:
    return pickle.dumps({**message, "r": _as_known(message["r"])}, protocol)


def _as_known(result: Any) -> Any:
    """The result. An exception becomes one that a client without this package can unpickle."""
    if not isinstance(result, BaseException):
        return result
    if isinstance(result, asyncio.CancelledError):
        return asyncio.CancelledError()
    text = str(result)
    if isinstance(result, _READABLE):
        return type(result)(text)
    return TimeoutError(text) if type(result) is TimeoutError else JobExecutionFailed(text)
