"""arq's messages: jobs and results on the wire (I8).

Everpost writes msgpack. Stock arq clients write pickle by default: only plain values of such messages are read, and
nothing in them is ever executed. Source: `arq.jobs.serialize_job` and `serialize_result`, which define the one-letter
keys.
"""

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from everpost.errors import InvalidValue
from everpost.queue.plain_pickle import read_plain_pickle
from everpost.task.file_refs import keys_of
from everpost.task.model import DEFAULT_PRIORITY, PRIORITIES, Task
from everpost.task.queued_job import QueuedJob
from everpost.task.submission import decoded_data

FUNCTION = "publish"
PUBLISH_PARAMETERS = ("task_data", "priority", "retry_of", "batch_id")
ADOPTED = "arq"  # `accepted_by` of a task that a stock arq client enqueued,
ADOPTED_FROM_PICKLE = "arq:pickle"  # the same, for a client that reads only pickles
PICKLE_PROTOCOL = 4  # every Python that arq supports reads it
_MAP_MARKERS = frozenset((*range(0x81, 0x90), 0xDE, 0xDF))  # the first bytes of a msgpack map; a pickle never begins so


def _encode_other(value: Any) -> Any:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    raise TypeError(f"cannot write {type(value).__name__}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other)
_decoder = msgspec.msgpack.Decoder()


def serialize(message: dict[str, Any]) -> bytes:
    """A job or result as msgpack; an exception is written as its text."""
    return _encoder.encode(message)


def is_pickle(payload: bytes) -> bool:
    """Whether the message must be read as a pickle: it is not a msgpack map."""
    return len(payload) > 1 and payload[0] not in _MAP_MARKERS


def deserialize(payload: bytes) -> dict[str, Any]:
    """The job or result in a message: a msgpack map, or a plain pickle of a dict.

    Raises:
        ValueError: It is neither. A pickle that names a global is never loaded.
    """
    if is_pickle(payload):
        message = read_plain_pickle(payload)
    else:
        try:
            message = _decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"the payload is not msgpack: {error}") from error
    if not isinstance(message, dict):
        raise ValueError("the message is not a dict")  # noqa: TRY004 - one error for everything unreadable
    return message


def job_of(task: Task, enqueued_at_ms: int) -> bytes:
    """The job message of a task; a pickle if the waiting client reads only pickles."""
    arguments = {
        "task_data": task.task_data,
        "priority": task.priority,
        "retry_of": task.retry_of,
        "batch_id": task.batch_id,
    }
    message = {"t": None, "f": FUNCTION, "a": (), "k": arguments, "et": enqueued_at_ms}
    if task.accepted_by == ADOPTED_FROM_PICKLE:
        return pickle.dumps(message, PICKLE_PROTOCOL)
    return _encoder.encode(message)


def adopted_task(
    task_id: str,
    task_data: bytes,
    *,
    priority: int,
    created_at_ms: int,
    due_at_ms: int | None = None,
    from_pickle: bool = False,
) -> Task:
    """The task that the ledger gets for a stock arq client's job.

    Args:
        task_data: A JSON object.
    """
    data = decoded_data(task_data)
    return Task(
        task_id=task_id,
        task_data=task_data,
        platform=str(data.get("platform") or ""),
        account_id=str(data.get("account_id") or ""),
        title=str(data.get("title") or ""),
        priority=priority,
        created_at_ms=created_at_ms,
        due_at_ms=due_at_ms,
        accepted_by=ADOPTED_FROM_PICKLE if from_pickle else ADOPTED,
        file_ids=keys_of(data, has_inherited=False),
    )


def read_job(payload: bytes) -> QueuedJob | None:
    """The task in a job or result message; None if it is not one of Everpost's or cannot be read."""
    try:
        return job_in(payload)
    except ValueError:
        return None


def job_in(payload: bytes) -> QueuedJob:
    """The task in a job or result message.

    Raises:
        ValueError: It is not one of Everpost's or cannot be read; the text says why.
    """
    message = deserialize(payload)
    if message.get("f") != FUNCTION:
        raise ValueError(f"it calls the function {str(message.get('f'))[:64]!r}, not {FUNCTION!r}")
    try:
        arguments = publish_arguments(message["a"], message["k"])
        return QueuedJob(
            task_data=None if "s" in message and not arguments else encoded_data(arguments.get("task_data")),
            priority=priority_of(arguments),
            retry_of=_text_or_none(arguments.get("retry_of")),
            batch_id=_text_or_none(arguments.get("batch_id")),
            enqueued_at_ms=_int_or_none(message.get("et")),
            success=None if message.get("s") is None else bool(message["s"]),
            finished_at_ms=_int_or_none(message.get("ft")),
            outcome=message.get("r"),
            from_pickle=is_pickle(payload),
        )
    except InvalidValue as error:
        raise ValueError(error.message) from error
    except (TypeError, KeyError) as error:
        raise ValueError(f"it lacks parts of a job: {error}") from error


def read_jobs(task_ids: Sequence[str], payloads: Sequence[bytes | None]) -> dict[str, QueuedJob]:
    """The readable jobs; if a task has several, the last one counts."""
    jobs = ((task_id, read_job(payload)) for task_id, payload in zip(task_ids, payloads, strict=True) if payload)
    return {task_id: job for task_id, job in jobs if job is not None}


def publish_arguments(args: Any, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of `publish` by name, bound as Python would."""
    if not args:
        return kwargs
    return {**dict(zip(PUBLISH_PARAMETERS, args, strict=False)), **kwargs}


def encoded_data(task_data: Any) -> bytes:
    """The JSON bytes of a job's `task_data`.

    Raises:
        InvalidValue: It is not a JSON object.
    """
    data = decoded_data(task_data)
    if isinstance(task_data, bytes):
        return task_data
    try:
        return msgspec.json.encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue("task_data is not a JSON object", "$.task_data") from error


def priority_of(arguments: Mapping[str, Any]) -> int:
    """The priority in a job's arguments; the default if it is missing or invalid."""
    priority = arguments.get("priority")
    return priority if type(priority) is int and priority in PRIORITIES else DEFAULT_PRIORITY


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _int_or_none(value: Any) -> int | None:
    return value if type(value) is int else None
