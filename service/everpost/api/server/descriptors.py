"""File descriptors: how many connections they allow."""

import resource
from pathlib import Path

MOST_CONNECTIONS = 4_096  # each takes 10 KB, and 100 while its client sends a long head
MOST_STREAMS = 8_192  # of events, besides those
WANTED = 16_384
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
    """The number of connections, streams included, that leaves enough descriptors for files and Redis."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS + MOST_STREAMS
    return most_open(limit, used=sum(1 for _ in Path("/dev/fd").iterdir()))


def most_open(limit: int, used: int) -> int:
    """The number of connections for `limit` descriptors, with `used` already open and some reserved for files."""
    kept = min(max(limit // KEPT_SHARE, LEAST_KEPT), MOST_KEPT)
    return min(max(limit - used - kept, 1), MOST_CONNECTIONS + MOST_STREAMS)


def most_connections(room: int) -> int:
    """How many of so many connections may be anything but streams."""
    return min(room, MOST_CONNECTIONS)


def most_streams(room: int) -> int:
    """How many of so many connections may be streams; half of them, or `MOST_CONNECTIONS`, stay for everything else."""
    return min(MOST_STREAMS, max(room - MOST_CONNECTIONS, room // 2))
