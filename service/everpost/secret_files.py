"""Reads secrets from files: Kubernetes, Docker and systemd give a process its secrets as files."""

import os
import stat
from pathlib import Path

from everpost.errors import SettingsError

MOST_BYTES = 16_384  # a larger file is something else, such as a database


def read_secret(setting: str, path: str) -> str:
    """The line that is the content of a file; a line break at its end does not belong to it.

    Args:
        setting: The name of the setting that names the file, for errors. They never show the content.
        path: The file; `~` is replaced by the home folder.

    Raises:
        SettingsError: The file cannot be read, is not a regular file, is empty, is too large, or is not one line of
            UTF-8 text.
    """
    try:
        content = _read(Path(path).expanduser())
        line = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SettingsError(f"{setting}={path}: the file is not UTF-8 text.") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{setting}={path}: the file cannot be read: {reason}.") from error
    if len(content) > MOST_BYTES:
        raise SettingsError(f"{setting}={path}: the file is larger than {MOST_BYTES:,} bytes.")
    if not line or "\n" in line:
        raise SettingsError(f"{setting}={path}: the file {'has more than one line' if line else 'is empty'}.")
    return line


def _read(path: Path) -> bytes:
    """The beginning of the file. A pipe is refused: only the first of several processes could read it."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError("it is not a regular file")
        return os.read(file, MOST_BYTES + 1)
    finally:
        os.close(file)
