"""File descriptors: how many connections they allow."""

import resource
from pathlib import Path

MOST_CONNECTIONS = 4_096  # each takes 10 KB, and 100 while its client sends a long head
WANTED = 8_192
KEPT_SHARE = 8
MOST_KEPT = 512
LEAST_KEPT = 16


def raise_descriptor_limit() -> None:
    """Raise this process's limit to what it may need, as far as the system allows: the usual 1,024 is for `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def room_for_connections() -> int:
    """The number of connections that leaves enough descriptors for files and Redis."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return most_connections(limit, used=sum(1 for _ in Path("/dev/fd").iterdir()))


def most_connections(limit: int, used: int) -> int:
    """The number of connections for `limit` descriptors, with `used` already open and some reserved for files."""
    kept = min(max(limit // KEPT_SHARE, LEAST_KEPT), MOST_KEPT)
    return min(max(limit - used - kept, 1), MOST_CONNECTIONS)
