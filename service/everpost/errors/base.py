"""The root of all errors, and that of the settings."""

from collections.abc import Mapping
from types import MappingProxyType

SHOWN_CHARACTERS = 100  # of a wrong value, so that an answer is never as large as its request


class ServiceError(Exception):
    """The root. `code` is part of the public interface and never changes its meaning.

    Attributes:
        headers: Headers of the HTTP answer, in addition to those of all errors.
    """

    code = "internal_error"
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SettingsError(ServiceError):
    """A setting is unknown or cannot be read; the process does not start."""

    code = "settings_error"
