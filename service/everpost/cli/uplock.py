"""At most one `everpost up` per folder: its lock, and the facts other commands read from it."""

import fcntl
import os
from pathlib import Path
from typing import Self

import msgspec

from everpost.errors import SettingsError
from everpost.probe import base_url
from everpost.settings import Settings

NAME = "up.lock"


class UpFacts(msgspec.Struct, frozen=True):
    """A running `everpost up`: its process and its address.

    Attributes:
        redis: The address of its embedded Valkey. Empty if Redis runs elsewhere, because that address may hold a
            password.
    """

    pid: int
    url: str
    redis: str


class UpLock:
    """The lock on a data folder. The operating system releases it when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Take the lock, and make the folder if it does not exist.

        Raises:
            SettingsError: Another process has it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            facts = read_facts(folder)
            os.close(self._file)
            who = f"process {facts.pid} at {facts.url}" if facts else "another process"
            raise SettingsError(f"{folder} is in use by an `everpost up` already ({who}).") from error

    def tell(self, facts: UpFacts) -> None:
        """Write the facts for other commands to read."""
        text = msgspec.json.encode(facts)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text, 0)

    def release(self) -> None:
        """Release the lock and remove the facts."""
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def find_up(folder: Path) -> UpFacts | None:
    """The `everpost up` that runs on a data folder; None if none does."""
    try:
        file = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_facts(folder)
    finally:
        os.close(file)
    return None


def api_url(settings: Settings) -> str:
    """The API's address: that of the `everpost up` that runs on the data folder, else that of the settings."""
    running = find_up(settings.data)
    return running.url if running else base_url(settings)


def read_facts(folder: Path) -> UpFacts | None:
    """The facts in the file; None if it has none yet."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=UpFacts)
    except (OSError, msgspec.DecodeError):
        return None
