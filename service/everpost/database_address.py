"""Reads `EVERPOST_DATABASE`: the path of a file, or an address with a scheme."""

import re
from pathlib import Path
from urllib.parse import unquote

from everpost.errors import SettingsError

_SQLITE = "sqlite"
_SUPPORTED = "a path, or sqlite:///relative/path, or sqlite:////absolute/path"

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


def is_postgresql(address: str) -> bool:
    """Whether the database is one of PostgreSQL."""
    return address.lower().startswith(("postgresql://", "postgres://"))


def sqlite_path(address: str) -> Path:
    """The file of an SQLite database, with `~` replaced by the home folder.

    A path is taken unchanged. In an address, `%` begins a hexadecimal escape, as in every URL. `?` and `#` must be
    escaped, because they have another meaning in URLs.

    Raises:
        SettingsError: The address has another scheme, a host, or no path.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        if address.lower().startswith(f"{_SQLITE}:"):
            raise _refusal(f"the path follows {_SQLITE}:///, with three or four slashes")
        return _expanded(address)
    scheme, rest = found[1].lower(), found[2]
    if scheme != _SQLITE:
        raise _refusal(f"{scheme}:// is not supported")
    host, _, path = rest.partition("/")
    if host:
        raise _refusal("an SQLite file has no host, so three slashes follow sqlite:")
    if "?" in path or "#" in path:
        raise _refusal("in an address, a path has %3F for ? and %23 for #")
    try:
        return _expanded(unquote(path, errors="strict"))
    except UnicodeDecodeError:
        raise _refusal("its path is not valid UTF-8") from None


def _expanded(path: str) -> Path:
    if not path or "\0" in path:
        raise _refusal("it names no file")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = path.partition("/")[0]
        raise _refusal(f"there is no user {user}, or the user has no home folder") from None


def _refusal(reason: str) -> SettingsError:
    """The error. It does not show the address, because an address may hold a password."""
    return SettingsError(f"EVERPOST_DATABASE: {reason}. Supported is {_SUPPORTED}.")
