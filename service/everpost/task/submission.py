"""Reads what a client sends: from JSON bytes to a checked task that keeps everything the client wrote (I4)."""

from collections.abc import Collection, Iterator, Mapping
from datetime import tzinfo
from itertools import accumulate, islice
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from everpost.errors import InvalidValue, MalformedJson
from everpost.garbage import without_collection
from everpost.platforms import Catalogue, Platform
from everpost.settings import MOST_S
from everpost.task import callbacks
from everpost.task.file_refs import FileRefs, check_refs, keys_of, may_name_files
from everpost.task.late_rules import latest_start_ms
from everpost.task.model import DEFAULT_PRIORITY, Task, new_task_id
from everpost.task.pattern_words import in_words
from everpost.task.schedule_times import SCHEDULE_PATH, PlacedTime, place_time, read_moment

MAX_DEPTH = 64
ANY_FIELD = "*"
MOST_UNKNOWN, LONGEST_UNKNOWN = 20, 100  # fields that an answer names, and characters of each
LARGE_BYTES = 65_536
MOST_LOOKED_THROUGH = 10_000
STEP_OF_BRACKET = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # one deeper, or one up: -1 as a signed byte
OTHER_BYTES = bytes(set(range(256)) - set(b"[{]}"))
EARLIEST_MS = 946_684_800_000  # 2000-01-01; an earlier time is a mistake
MAX_AHEAD_MS = 10 * 366 * 86_400_000

Name = Annotated[str, Meta(min_length=1, max_length=256)]


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A publish task as a client posts it. Other fields are kept and passed to the publisher unchanged."""

    platform: Annotated[int | str, Meta(description="A platform's id, name or alias; see GET /platforms")]
    account_id: Annotated[Name, Meta(description="The account to publish with")]
    file_id: Annotated[int | str | None, Meta(description="The id of the media")] = None
    file_path: Annotated[str, Meta(max_length=4096, description="The media, relative to EVERPOST_MEDIA")] | None = None
    files: FileRefs | None = None
    title: Annotated[str, Meta(max_length=10_000)] = ""
    description: str = ""
    tags: Annotated[list[Annotated[str, Meta(max_length=1_000)]], Meta(max_length=1_000)] = []
    cover: str | None = None
    schedule_time: Annotated[
        str | None,
        Meta(description="ISO 8601, or YYYY-MM-DD HH:MM[:SS]; without an offset it is read in the account's time zone"),
    ] = None
    schedule_fold: Annotated[
        Annotated[int, Meta(ge=0, le=1)] | None,
        Meta(description="Of a schedule_time that comes twice: 0 is the first, 1 the second"),
    ] = None
    late_after_s: Annotated[
        Annotated[float, Meta(gt=0, le=MOST_S)] | None,
        Meta(description="Seconds: it fails as missed if it cannot begin so soon after its time"),
    ] = None
    publish_mode: Annotated[str, Meta(max_length=64)] = "auto"
    allow_duplicate: Annotated[
        bool, Meta(description="Post it although the same content was posted to this account a short time ago")
    ] = False
    callback_url: Annotated[
        str | None, Meta(description="An https:// address that is told how the task ended; see docs/callbacks.md")
    ] = None
    priority: Annotated[int, Meta(ge=0, le=9, description="Lower is more urgent")] = DEFAULT_PRIORITY


class Submission(msgspec.Struct, frozen=True):
    """A checked request: the typed fields, the platform, and the whole object as it will be kept.

    Attributes:
        file_ids: The ids of the files it names, without those that are known to be the client's own.
        warning: What the client should know of its time.
        is_placed: Its time was chosen by `spread`, not by the client.
        unknown_fields: Fields that neither Everpost nor the platform reads; some of them, if there are many.
        submitted_by: The name of the caller.
    """

    view: PublishRequest
    platform: Platform
    task_data: bytes
    due_at_ms: int | None
    file_ids: tuple[str, ...] = ()
    warning: str | None = None
    is_placed: bool = False
    unknown_fields: tuple[str, ...] = ()
    submitted_by: str | None = None

    def task(self, now_ms: int, accepted_by: str, batch_id: str | None = None) -> Task:
        """The task made from this submission."""
        return Task(
            task_id=new_task_id(now_ms),
            task_data=self.task_data,
            platform=self.platform.name,
            account_id=self.view.account_id,
            title=self.view.title,
            priority=self.view.priority,
            created_at_ms=now_ms,
            due_at_ms=self.due_at_ms,
            batch_id=batch_id,
            accepted_by=accepted_by,
            file_ids=self.file_ids,
            callback_url=self.view.callback_url,
            late_at_ms=self.late_at_ms(now_ms),
            submitted_by=self.submitted_by,
        )

    def late_at_ms(self, now_ms: int) -> int | None:
        """The latest time to begin if it could begin from `now_ms` on, in UTC milliseconds; None is no limit."""
        return latest_start_ms(self.view.late_after_s, self.platform.late_after_s, self.due_at_ms, now_ms)


class SubmissionReader:
    """Checks requests against the catalogue.

    Args:
        timezone: Of times without an offset, unless a caller names the account's.
        has_inherited_files: The store has records of the original's files, whose ids are numbers.
        signs_callbacks: There is a secret to sign callbacks with; otherwise no task may have one.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        timezone: tzinfo,
        *,
        has_inherited_files: bool = True,
        signs_callbacks: bool = False,
    ) -> None:
        self._catalogue = catalogue
        self._timezone = timezone
        self._has_inherited_files = has_inherited_files
        self._signs_callbacks = signs_callbacks
        self._known = {platform.name: KNOWN_FIELDS.union(platform.fields) for platform in catalogue}

    def read(self, body: bytes, now_ms: int, zone: tzinfo | None = None) -> Submission:
        """Read one task from a JSON body.

        Args:
            zone: The time zone of its account.

        Raises:
            MalformedJson: The body is not JSON in UTF-8, or is nested more than `MAX_DEPTH` deep.
            InvalidValue: A value has the wrong type or range; the error has its JSON path.
        """
        return self.check(decode_json(body), now_ms, zone)

    def check(self, data: Any, now_ms: int, zone: tzinfo | None = None) -> Submission:
        """Read one task from a decoded JSON value. Raises the errors of `read`."""
        try:
            view = msgspec.convert(data, PublishRequest)
        except msgspec.ValidationError as error:
            raise invalid_value(error) from error
        if view.files:
            check_refs(view.files, has_single=bool(view.file_path) or view.file_id is not None)
        platform = self._catalogue.find_public(view.platform)
        platform.check(view.title, view.description, view.tags)
        if platform.text_max is not None:
            platform.check_text(data)
        if view.callback_url is not None:
            self.check_callback_url(view.callback_url)
        file_ids: tuple[str, ...] = ()
        if may_name_files(view.files, view.file_id, has_inherited=self._has_inherited_files):
            file_ids = keys_of(data, has_inherited=self._has_inherited_files)
        task_data, known = encode_json(data), self._known.get(platform.name, KNOWN_FIELDS)
        unknown = () if known.issuperset(data) else unknown_among(data, known)
        if view.schedule_time is None:
            return Submission(view, platform, task_data, None, file_ids, unknown_fields=unknown)
        due = self._due_at(view.schedule_time, view.schedule_fold, now_ms, zone or self._timezone)
        return Submission(view, platform, task_data, due.time_ms, file_ids, due.warning, unknown_fields=unknown)

    def unknown_fields(self, platform_name: str, data: Mapping[str, Any]) -> tuple[str, ...]:
        """The fields of a task that neither Everpost nor its platform reads; some of them, if there are many."""
        return unknown_among(data, self._known.get(platform_name, KNOWN_FIELDS))

    def check_callback_url(self, url: str) -> None:
        """Check the address of a callback.

        Raises:
            InvalidValue: No callback can be sent there, or none can be signed.
        """
        if not self._signs_callbacks:
            raise InvalidValue("Callbacks are signed; set EVERPOST_CALLBACK_SECRET first.", f"$.{callbacks.MEMBER}")
        callbacks.check_callback_url(url, self._catalogue.callback_options)

    @staticmethod
    def _due_at(text: str, fold: int | None, now_ms: int, zone: tzinfo) -> PlacedTime:
        due = place_time(read_moment(text), zone, fold)
        if not EARLIEST_MS <= due.time_ms <= now_ms + MAX_AHEAD_MS:
            raise InvalidValue(f"{text[:64]!r} is before the year 2000 or more than ten years ahead.", SCHEDULE_PATH)
        return due


KNOWN_FIELDS = frozenset({*PublishRequest.__struct_fields__, "material_id"})
"""The fields that Everpost reads of every task."""


def unknown_among(data: Mapping[str, Any], known: Collection[str]) -> tuple[str, ...]:
    """The unknown fields, shortened if there are many or if they are long."""
    if ANY_FIELD in known:
        return ()
    unknown = islice((name for name in data if name not in known), MOST_UNKNOWN)
    return tuple(name[:LONGEST_UNKNOWN] for name in unknown)


def decode_json(body: bytes) -> Any:
    """The JSON value of a body.

    Raises:
        MalformedJson: It is not JSON in UTF-8, or is nested more than `MAX_DEPTH` deep.
    """
    try:
        value = msgspec.json.decode(body) if len(body) < LARGE_BYTES else _decode_undisturbed(body)
    except msgspec.ValidationError as error:  # a number too large for a float
        raise InvalidValue(f"{error}.") from error
    except msgspec.DecodeError as error:
        raise MalformedJson(f"{error}.") from error
    except UnicodeDecodeError as error:
        raise MalformedJson(f"The body is not UTF-8 (byte {error.start}).") from error
    except RecursionError as error:
        raise MalformedJson(f"The body is nested more than {MAX_DEPTH} deep.") from error
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth_of(body) > MAX_DEPTH:
        raise MalformedJson(f"The body is nested more than {MAX_DEPTH} deep.")
    return value


def decoded_data(task_data: Any) -> dict[str, Any]:
    """The object in a job's `task_data`: JSON bytes, JSON text, or a stock client's plain dict.

    Raises:
        InvalidValue: It has another type.
    """
    if isinstance(task_data, dict):
        return task_data
    try:
        data = msgspec.json.decode(task_data)
    except (msgspec.DecodeError, UnicodeError, RecursionError, TypeError) as error:
        raise InvalidValue("task_data is not JSON", "$.task_data") from error
    if not isinstance(data, dict):
        raise InvalidValue("task_data is not a JSON object", "$.task_data")
    return data


def encode_json(data: Any) -> bytes:
    """Encode a task's data to the bytes that are used from here on; non-ASCII text stays readable.

    Raises:
        InvalidValue: A text contains the character NUL, which neither SQLite nor a file name can hold.
    """
    task_data = msgspec.json.encode(data)
    if b"\\u0000" in task_data and b"\\u0000" in task_data.replace(rb"\\", b""):  # not preceded by an escaped backslash
        raise InvalidValue("The text contains the character NUL.", _path_of_nul(data))
    return task_data


def invalid_value(error: msgspec.ValidationError) -> InvalidValue:
    """Msgspec's error as an `InvalidValue`, with its JSON path."""
    message, _, path = str(error).partition(" - at `")
    return InvalidValue(f"{in_words(message)}.", path.rstrip("`") or "$")


def _decode_undisturbed(body: bytes) -> Any:
    """The value of a large body, decoded without garbage collection: many arrays would trigger it, for 0.1 s per MB."""
    with without_collection():
        return msgspec.json.decode(body)


def _depth_of(body: bytes) -> int:
    """The depth of valid JSON, from its brackets alone: walking through a million small arrays takes 0.3 s."""
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")  # without these, no quote is left inside a text
    outside_texts = b"".join(body.split(b'"')[::2])
    steps = memoryview(outside_texts.translate(STEP_OF_BRACKET, OTHER_BYTES)).cast("b")
    return max(accumulate(steps), default=0)


def _path_of_nul(data: Any) -> str:
    """The path of the first NUL; `$` if it comes after `MOST_LOOKED_THROUGH` values, as others wait meanwhile."""
    looked_through = islice(_texts_of(data, "$"), MOST_LOOKED_THROUGH)
    return next((path for text, path in looked_through if "\0" in text), "$")


def _texts_of(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """All texts in a value with their paths; a key has its object's path. Other values yield an empty text."""
    yield (value if isinstance(value, str) else "", path)
    if isinstance(value, Mapping):
        yield from ((key, path) for key in value)
        for key, item in value.items():
            yield from _texts_of(item, f"{path}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts_of(item, f"{path}[{number}]")
