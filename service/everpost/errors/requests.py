"""What is wrong with a request; nothing of it was kept."""

from everpost.errors.base import SHOWN_CHARACTERS, ServiceError


class BadInput(ServiceError):
    """A header or part of the request cannot be read; nothing of it was kept."""

    code = "bad_input"


class MalformedJson(BadInput):
    """The body is not JSON in UTF-8, or is nested more than 64 deep."""

    code = "malformed_json"


class InvalidValue(BadInput):
    """A value has the wrong type or range; `path` is its JSON path, `$` the whole body."""

    code = "invalid_value"

    def __init__(self, message: str, path: str = "$") -> None:
        super().__init__(message)
        self.path = path


class UnknownPlatform(InvalidValue):
    """The catalogue has no such platform."""

    code = "unknown_platform"

    def __init__(self, platform: object, known: str) -> None:
        shown = repr(platform)
        shown = shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:SHOWN_CHARACTERS]}..."
        super().__init__(f"There is no platform {shown}; the catalogue has {known}.", "$.platform")


class UnknownFile(InvalidValue):
    """The task names a file that is not there; upload it first."""

    code = "unknown_file"

    def __init__(self, file_id: str, path: str = "$.file_id") -> None:
        super().__init__(f"There is no file {file_id[:SHOWN_CHARACTERS]!r}.", path)


class UnknownAccount(InvalidValue):
    """The platform publishes with registered accounts only, and the account is not registered."""

    code = "unknown_account"

    def __init__(self, platform: str, account_id: str) -> None:
        shown = repr(account_id[:SHOWN_CHARACTERS])
        super().__init__(
            f"{platform} publishes with registered accounts only, and {shown} is not registered.", "$.account_id"
        )


class AccountBlocked(InvalidValue):
    """The platform has blocked the account for good, so its tasks cannot be published."""

    code = "account_blocked"

    def __init__(self, platform: str, account_id: str, reason: str | None) -> None:
        shown = repr(account_id[:SHOWN_CHARACTERS])
        super().__init__(
            f"The account {shown} of {platform} is blocked for good: {reason or 'no reason is known'}", "$.account_id"
        )


class SkippedTime(InvalidValue):
    """Clocks are put forward over the wanted time in its zone; `neighbours` are the times before and after."""

    code = "skipped_time"

    def __init__(self, wanted: str, zone: str, neighbours: tuple[str, str], path: str = "$") -> None:
        earlier, later = neighbours
        super().__init__(
            f"There is no {wanted} in {zone}, because clocks are put forward over it. Take {earlier} or {later}.", path
        )
        self.neighbours = neighbours


class BodyTooLarge(BadInput):
    """The body, or a line of a stream, is larger than `EVERPOST_MAX_BODY`, or a file than `EVERPOST_MAX_MEDIA`."""

    code = "body_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes.")


class UnsupportedMedia(BadInput):
    """The route does not read this Content-Type."""

    code = "unsupported_media_type"

    def __init__(self, wanted: str) -> None:
        super().__init__(f"Send the body as {wanted}.")


class UnsupportedTransferCoding(BadInput):
    """The Transfer-Encoding is not `chunked`."""

    code = "unsupported_transfer_coding"

    def __init__(self) -> None:
        super().__init__("Send the body unencoded, or as 'Transfer-Encoding: chunked'; no other coding is supported.")


class UnsupportedTus(BadInput):
    """`Tus-Resumable` is another version than 1.0.0, or the request does not have it."""

    code = "unsupported_tus_version"

    def __init__(self) -> None:
        super().__init__("Uploads are continued by version 1.0.0 of tus (tus.io): send Tus-Resumable: 1.0.0.")


class RangeNotSatisfiable(BadInput):
    """The file ends before the range that was asked for."""

    code = "range_not_satisfiable"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"The file has {size_bytes:,} bytes.")
        self.size_bytes = size_bytes


class QuotaExceeded(ServiceError):
    """The uploaded files would have more bytes than `EVERPOST_FILES_QUOTA`."""

    code = "quota_exceeded"

    def __init__(self, quota_bytes: int) -> None:
        super().__init__(f"All files together may have {quota_bytes:,} bytes (EVERPOST_FILES_QUOTA): delete some.")
