"""The port's noun `archive`: where old and deleted tasks go, and the one way to destroy any."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a task is in the archive."""

    AGE = "age"
    DELETED = "deleted"
