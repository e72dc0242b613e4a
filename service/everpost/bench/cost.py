"""The cost of a process: CPU time and memory, from Linux's /proc (proc(5)); None on other systems."""

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
NS_PER_S = 1_000_000_000
UTIME, STIME, CUTIME, CSTIME = 11, 12, 13, 14  # positions in /proc/PID/stat, counted after the command's name


def cpu_s(pid: int) -> float | None:
    """Seconds of CPU that a process and its threads have used so far; None if the system does not tell.

    stat counts in ticks of 10 ms. schedstat counts in nanoseconds, but only for living threads.
    """
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks_s = (int(fields[UTIME]) + int(fields[STIME])) / TICKS_PER_S
    return max(ticks_s, sum(_thread_s(thread) for thread in (folder / "task").glob("*")))


def tree_cpu_s(pid: int) -> float | None:
    """Seconds of CPU of a process, of its living children, and of those that have ended."""
    own = cpu_s(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return own
    ended_s = (int(fields[CUTIME]) + int(fields[CSTIME])) / TICKS_PER_S
    return (own or 0.0) + ended_s + sum(cpu_s(int(child)) or 0.0 for child in children)


def most_resident_mb(pid: int) -> float | None:
    """The largest resident memory a process ever had, in MB (10^6 bytes); None if the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")]
    return found[0] * 1024 / 1e6 if found else None


def _thread_s(thread: Path) -> float:
    try:
        return int((thread / "schedstat").read_text().split()[0]) / NS_PER_S
    except (OSError, IndexError):
        return 0.0
