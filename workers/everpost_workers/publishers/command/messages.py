"""The lines between Everpost and a program: one JSON object each. docs/platforms/command.md describes them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from everpost_workers.publishers.command.options import ErrorName

PROTOCOL = 1

Number = Annotated[float, Meta(ge=0)]


class Action(StrEnum):
    """What the program is to do."""

    PUBLISH = "publish"
    LOOK_UP = "look_up"
    CHECK_ACCOUNT = "check_account"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Everpost to program: the only line on its standard input.

    Attributes:
        protocol: The version of this form.
        task_id, platform, idempotency_key: Empty for `check_account`, which is about no task.
        files: The media in order, each with its path.
        account: The account's id and options.
        checkpoint: What this task saved last, in any attempt.
        folder: An empty folder for the program, which is also its working folder. It is removed afterwards.
        credentials_file: The JSON file with the credentials, if the option `credentials` is `file`.
    """

    protocol: int = PROTOCOL
    action: Action
    task_id: str
    platform: str
    attempt: int
    idempotency_key: str
    data: Mapping[str, Any]
    files: list[dict[str, Any]]
    account: dict[str, Any]
    checkpoint: Any = None
    folder: str
    credentials_file: str | None = None


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Program to Everpost: `done` of `total` is done, in any unit."""

    done: Number
    total: Number | None = None


class Checkpoint(msgspec.Struct, frozen=True, tag="checkpoint"):
    """Program to Everpost: keep this. It is durable once `{"type": "saved"}` can be read from file descriptor 3."""

    data: Any


class Phase(StrEnum):
    """How far the program has come."""

    NOTHING_SENT = "nothing_sent"
    SENDING = "sending"
    ANSWERED = "answered"


class Said(msgspec.Struct, frozen=True, tag="status"):
    """Program to Everpost: evidence for the case that its outcome stays unknown."""

    phase: Phase | None = None
    words: str | None = None


class Result(msgspec.Struct, frozen=True, tag="result"):
    """Program to Everpost: the post is published."""

    provider_post_id: str | int | None = None
    publish_url: str | None = None
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


class Failure(msgspec.Struct, frozen=True, tag="error"):
    """Program to Everpost: the post is not published, and why; `unknown` means that it may be."""

    error_class: ErrorName
    message: str = ""
    retry_after_s: Number | None = None


class Missing(msgspec.Struct, frozen=True, tag="not_found"):
    """Program to Everpost, in a look-up: the post does not exist, and cannot appear later."""


Message: TypeAlias = Progress | Checkpoint | Said | Result | Failure | Missing

_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_encode = msgspec.json.Encoder().encode


def read_message(line: bytes) -> Message | None:
    """The message in a line of the program's output; None if it is something else."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None


def write_line(message: msgspec.Struct | dict[str, Any]) -> bytes:
    """A line for the program.

    Raises:
        UnicodeEncodeError, TypeError, RecursionError: It cannot be written as JSON.
    """
    return _encode(message) + b"\n"
