"""The findings of `everpost doctor` about an SQLite file."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from everpost.findings import MIB, Finding, size_text
from everpost.store.sqlite.care.inspection import Upgrade
from everpost.store.sqlite.library import CORRUPTION_FIXED, LIBRARY

LOW_DISK_BYTES = 256 * MIB
LARGE_LOG_BYTES = 256 * MIB


def library_finding() -> Finding:
    """The version of SQLite, and whether it can corrupt a WAL database."""
    advice = "" if CORRUPTION_FIXED else "It can corrupt a WAL database (fixed in 3.51.3): install the pysqlite3 wheel."
    return Finding("database", "library", LIBRARY, CORRUPTION_FIXED, advice)


def file_findings(path: Path, least_free_bytes: int) -> Iterator[Finding]:
    """The size of the file and its log, whether they may grow, and the free space on the disk."""
    if path.is_file():
        log = path.with_name(f"{path.name}-wal")
        log_bytes = log.stat().st_size if log.exists() else 0
        yield Finding("database", "size", size_text(path.stat().st_size))
        readers = _others_with(path) if log_bytes >= LARGE_LOG_BYTES else ""
        advice = f"A long-running reader keeps it from starting over: end it. {readers}".strip() if readers else ""
        yield Finding("database", "write-ahead log", size_text(log_bytes), not advice, advice)
    folder = next(place for place in (path.absolute(), *path.absolute().parents) if place.is_dir())
    locked = [place for place in (path, folder) if place.exists() and not os.access(place, os.W_OK)]
    advice = "The user that runs Everpost must be able to write the file and its folder." if locked else ""
    told = f"not {' and '.join(map(str, locked))}, by this user" if locked else "yes"
    yield Finding("database", "may be written", told, not locked, advice)
    free = shutil.disk_usage(folder).free
    least = size_text(least_free_bytes)
    is_well = free >= max(LOW_DISK_BYTES, least_free_bytes)
    advice = "" if is_well else f"With less than {least} (EVERPOST_MIN_FREE_DISK) no task is accepted: free some space."
    yield Finding("database", "disk free", size_text(free), not advice, advice)


def _others_with(path: Path) -> str:
    """The processes that have the file open, as far as Linux shows them to this user."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(descriptor.exists() and descriptor.samefile(path) for descriptor in (process / "fd").iterdir()):
                found.append(f"{process.name} ({(process / 'comm').read_text('utf-8').strip()})")
        except OSError:
            continue
    return (
        f"Open in the processes {', '.join(sorted(found))}."
        if found
        else "No process that this user may see has it open."
    )


def upgrade_findings(path: Path, upgrade: Upgrade) -> Iterator[Finding]:
    """The kind of file, and what the next start does to it."""
    yield Finding("database", "file", str(path), ok=True)
    told = {
        "fresh": "empty; the next start makes its tables",
        "original": "the original system's; the next start backs it up and adopts it",
        "older": "an older Everpost's; the next start adds what is missing",
        "current": "up to date",
    }
    yield Finding("database", "schema", told[upgrade.kind], True if upgrade.kind == "current" else None)
    if upgrade.missing:
        yield Finding("database", "missing", ", ".join(upgrade.missing))
    if upgrade.strangers:
        advice = "They could change or refuse tasks. The next start removes them and logs their SQL."
        yield Finding("database", "not Everpost's", ", ".join(upgrade.strangers), ok=False, advice=advice)
    if upgrade.duplicates.count:
        sample = ", ".join(upgrade.duplicates.sample)
        advice = f"Such as {sample}. All rows are kept; the UNIQUE index is added once these are removed."
        yield Finding("database", "ids more than once", str(upgrade.duplicates.count), ok=False, advice=advice)


def check_findings(pragmas: Mapping[str, str], check: str | None, damage: Sequence[str] | None) -> Iterator[Finding]:
    """The pragmas that SQLite did not accept, and the damage that its `check` found."""
    wrong = ", ".join(f"{name}={value}" for name, value in pragmas.items())
    yield Finding(
        "database", "pragmas", wrong or "as set", not wrong, "SQLite did not take over these values." if wrong else ""
    )
    if check is not None and damage is not None:
        advice = "Stop every process, then `everpost restore` a backup." if damage else ""
        yield Finding("database", check, "; ".join(damage) or "ok", not damage, advice)
