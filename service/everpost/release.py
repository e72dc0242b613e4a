"""The version of Everpost that runs."""

from functools import cache
from importlib.metadata import version


@cache
def running_version() -> str:
    """The installed package's version; reading it parses the whole README, so it is read once."""
    return version("everpost")
