"""Finds the values that credentials of accounts refer to, at the moment of use: `env:NAME` and `file:NAME`."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from everpost.settings import ACCOUNT

MOST_BYTES = 262_144  # of a file: cookies of a browser can be large


class DeadReferenceError(Exception):
    """A reference leads nowhere; the message never has a value."""


def resolve_all(
    credentials: Mapping[str, str], environment: Mapping[str, str], root: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """The values of references by name, and for the others why they have none. This blocks.

    Args:
        root: The folder of files.
    """
    values: dict[str, str] = {}
    faults: dict[str, str] = {}
    for name, reference in credentials.items():
        try:
            values[name] = resolve(reference, environment, root)
        except DeadReferenceError as error:
            faults[name] = str(error)
    return values, faults


def resolve(reference: str, environment: Mapping[str, str], root: Path) -> str:
    """The value that a reference leads to.

    Raises:
        DeadReferenceError: It leads nowhere.
    """
    kind, _, name = reference.partition(":")
    if kind == "env" and name.startswith(ACCOUNT):
        value = environment.get(name, "")
        if not value:
            raise DeadReferenceError(f"the environment variable {name} is not set")
        return value
    if kind == "file":
        return _read(root, name)
    raise DeadReferenceError("it is not a reference to an account's variable or file")


def _read(root: Path, name: str) -> str:
    """The content of a file below the folder, without a line break at its end.

    Symbolic links are followed, because Kubernetes puts secrets behind them, but never out of the folder.
    """
    shown = f"the file {name} in EVERPOST_SECRETS"
    try:
        folder = root.resolve(strict=True)
        path = (folder / name).resolve(strict=True)
        if not path.is_relative_to(folder):
            raise DeadReferenceError(f"{shown} is outside of the folder")
        content = _content_of(path, shown)
        text = content.decode()
    except UnicodeDecodeError:
        raise DeadReferenceError(f"{shown} is not UTF-8 text") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise DeadReferenceError(f"{shown} cannot be read: {reason}") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise DeadReferenceError(f"{shown} is empty")
    return text


def _content_of(path: Path, shown: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise DeadReferenceError(f"{shown} is not a regular file")
        content = b""
        while len(content) <= MOST_BYTES and (part := os.read(file, MOST_BYTES)):
            content += part
    finally:
        os.close(file)
    if len(content) > MOST_BYTES:
        raise DeadReferenceError(f"{shown} is larger than {MOST_BYTES:,} bytes")
    return content
