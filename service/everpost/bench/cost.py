"""What a process costs: CPU time and memory, from Linux's /proc (proc(5)); elsewhere nothing is told."""

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
NS_PER_S = 1_000_000_000
UTIME, STIME = 11, 12  # of /proc/PID/stat, counted from behind the command's name


def cpu_s(pid: int) -> float | None:
    """Seconds of CPU a process has used so far, its threads included; None where the system does not tell.

    stat counts in ticks of 10 ms; schedstat in nanoseconds, but only of the threads that live.
    """
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks_s = (int(fields[UTIME]) + int(fields[STIME])) / TICKS_PER_S
    return max(ticks_s, sum(_thread_s(thread) for thread in (folder / "task").glob("*")))


def most_resident_mb(pid: int) -> float | None:
    """The most memory a process ever had resident, in MB (10^6 bytes); None where the system does not tell."""
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
