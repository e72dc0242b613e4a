"""The measured machine: processor, cores, kernel, file system, and the versions of all software involved."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from everpost.embedded import ALLOCATOR, server_environment
from everpost.queue.measured import MeasuredQueue
from everpost.store.measured import MeasuredStore

PACKAGES = ("everpost", "arq", "redis", "hiredis", "litestar", "uvicorn", "uvloop", "httptools", "msgspec", "aiosqlite")


def describe_machine(folder: Path) -> dict[str, Any]:
    """The machine, and the file system of `folder`."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(folder),
    }


async def describe_versions(store: MeasuredStore, queue: MeasuredQueue) -> dict[str, str]:
    """The versions of Python, the stores, the server's allocator and the packages."""
    server = await queue.server()
    packages = {name: found for name in PACKAGES if (found := _version(name))}
    allocator = f"mimalloc {_version(ALLOCATOR)}" if server_environment() else server.allocator
    return {
        "python": platform.python_version(),
        store.name: store.version,
        server.name: f"{server.version} with {allocator}",
        **packages,
    }


def machine_line(machine: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """Machine and versions on one line, for the head of a table."""
    return (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']} GB, {machine['kernel']}, "
        f"{machine['file_system']}; " + ", ".join(f"{name} {number}" for name, number in versions.items())
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _file_system(folder: Path) -> str:
    """The type of the file system, from /proc/mounts; the longest mount point above the folder counts."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    except OSError:
        return "unknown file system"
    path = folder.resolve()
    above = [(len(point), kind) for point, kind in mounts if path.is_relative_to(point)]
    return max(above)[1] if above else "unknown file system"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
