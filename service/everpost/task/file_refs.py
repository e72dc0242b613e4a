"""The files that a task names: one by `file_id` or `file_path`, or several in `files`."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from everpost.errors import InvalidValue

MOST_FILES = 100

_OWN_ID = re.compile(r"[0-9a-f]{32}")
_BOTH = "Name the files in `files`, or one file by `file_id` or `file_path`, not both."


class FileRef(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a task. Other fields are kept and passed to the publisher unchanged.

    Attributes:
        file_id: The id that `POST /files` answered, or the number of an inherited record of the original.
        file_path: A path relative to EVERPOST_MEDIA. If both are given, this one is used.
        alt: A description for people who cannot see the file.
    """

    file_id: Annotated[int | str | None, Meta(description="The id of a file, from POST /files")] = None
    file_path: Annotated[str, Meta(max_length=4096, description="The media, relative to EVERPOST_MEDIA")] | None = None
    alt: Annotated[str, Meta(max_length=10_000, description="Describes the file to who cannot see it")] | None = None

    @property
    def key(self) -> str | None:
        """The id as the store has it; None if the file is named by a path."""
        return None if self.file_path or self.file_id is None else str(self.file_id)


FileRefs = Annotated[list[FileRef], Meta(max_length=MOST_FILES, description="The media, in order")]


def is_own_id(key: str) -> bool:
    """Whether it has the form of the ids that Everpost makes. Any other id may be the client's own."""
    return _OWN_ID.fullmatch(key) is not None


def file_refs_of(data: Mapping[str, Any]) -> Sequence[FileRef]:
    """The files that a task's data name, in order. `files` comes first; without it, there is one or none.

    Raises:
        InvalidValue: A value has the wrong type; the path says which.
    """
    files = data.get("files")
    single = {name: value for name in ("file_id", "file_path") if (value := data.get(name)) is not None and value != ""}
    try:
        if files:
            return msgspec.convert(files, FileRefs)
        return [msgspec.convert(single, FileRef)] if single else []
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise InvalidValue(f"{message}.", f"{'$.files' if files else '$'}{path.rstrip('`')}") from error


def may_name_files(files: Any, file_id: Any, *, has_inherited: bool) -> bool:
    """Whether a task's `files` or `file_id` may have ids of records; only the original's are numbers."""
    return bool(files) or (file_id is not None and (has_inherited or type(file_id) is str))


def keys_of(data: Mapping[str, Any], *, has_inherited: bool = True) -> tuple[str, ...]:
    """The ids that a task's data name, each once; none if they cannot be read.

    Args:
        has_inherited: The store has records of the original, whose ids are numbers. Without any, only ids of the form
            that Everpost makes can be its own.
    """
    if not may_name_files(data.get("files"), data.get("file_id"), has_inherited=has_inherited):
        return ()
    try:
        keys = [ref.key for ref in file_refs_of(data)]
    except InvalidValue:
        return ()
    return tuple(dict.fromkeys(key for key in keys if key is not None and (has_inherited or is_own_id(key))))


def check_refs(files: Sequence[FileRef] | None, *, has_single: bool) -> None:
    """Check what a client sent.

    Args:
        has_single: The task also has a `file_id` or `file_path` of its own.

    Raises:
        InvalidValue: A file is named twice in different ways, or an entry of `files` names none.
    """
    if not files:
        return
    if has_single:
        raise InvalidValue(_BOTH, "$.files")
    for number, ref in enumerate(files):
        if not ref.file_path and ref.file_id in {None, ""}:
            raise InvalidValue("Name a file by `file_id` or `file_path`.", f"$.files[{number}]")
