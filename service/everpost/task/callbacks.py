"""Callbacks: what a client may name as `callback_url`, and the tasks that bring the news of an end there.

A callback is a task of the platform `callback`. The stores write it in the transaction of the end that it tells of
(`calling_back.sql` in SQLite, `0009_callbacks.sql` in PostgreSQL).
"""

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from everpost.errors import InvalidValue
from everpost.task.model import new_task_id

SUFFIX = ".callback"
"""Ends the id of every callback, so that lists can leave callbacks out by the id alone."""

MAX_URL = 2_048
MEMBER = "callback_url"


def check_callback_url(url: str, options: Mapping[str, Any], path: str = f"$.{MEMBER}") -> None:
    """Check an address as far as that is possible without asking for it; the worker checks where it leads.

    Args:
        options: Those of the platform `callback`: `allow_http` and `allow_private`.

    Raises:
        InvalidValue: No callback can be sent there.
    """
    if (fault := _fault_of(url, options)) is not None:
        raise InvalidValue(fault, path)


def _fault_of(url: str, options: Mapping[str, Any]) -> str | None:
    if len(url) > MAX_URL or not url.isprintable() or any(character.isspace() for character in url):
        return f"It must be an https:// address of at most {MAX_URL} characters, without spaces."
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "It is not a valid URL."
    if not parts.hostname or parts.scheme not in {"https", *(["http"] if options.get("allow_http") else [])}:
        return "It must be an https:// address; the option allow_http of the platform `callback` permits http://."
    if parts.username is not None or parts.password is not None:
        return "It must not contain a user or password."
    if not options.get("allow_private") and _is_private(parts.hostname):
        return "Its address is not global; the option allow_private of the platform `callback` permits it."
    return None


def _is_private(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:  # a name
        return False


def callback_url_of(url: Any, options: Mapping[str, Any]) -> str | None:
    """The `callback_url` of a task's data; None if it is missing, or no callback can be sent there."""
    return url if isinstance(url, str) and _fault_of(url, options) is None else None


def is_callback(task_id: str) -> bool:
    """Whether it is the id of a callback."""
    return task_id.endswith(SUFFIX)


def id_of_retry(task_id: str, now_ms: int) -> str:
    """A new id for a retry of a task."""
    new_id = new_task_id(now_ms)
    return new_id + SUFFIX if task_id.endswith(SUFFIX) else new_id


def subject_of(task_id: str) -> str:
    """The task or batch that a callback with this id, which is no redelivery's, tells of."""
    return task_id.removesuffix(SUFFIX).rpartition(".")[0]
