"""The members of a task's data that a retry needs, read once, without building the others."""

from typing import Any

import msgspec

from everpost.errors import InvalidValue


class DataFields(msgspec.Struct, frozen=True):
    """They may hold anything, because other programs write data, too."""

    platform: Any = ""
    account_id: Any = None
    title: Any = None
    file_id: Any = None
    file_path: Any = None
    files: Any = None
    schedule_time: Any = None
    schedule_fold: Any = None
    late_after_s: Any = None
    callback_url: Any = None


_READER = msgspec.json.Decoder(DataFields)


def read_fields(task_data: bytes) -> DataFields:
    """The fields of encoded data.

    Raises:
        InvalidValue: It is not a JSON object in UTF-8.
    """
    try:
        task_data.decode()  # msgspec does not check values for UTF-8 that it does not build
        return _READER.decode(task_data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidValue("task_data is not a JSON object", "$.task_data") from error
