"""A power cut at any moment: acknowledged tasks are in the remaining file, and the file is whole."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from everpost.store.sqlite.library import sqlite3
from sqlite.power import TRACED, Call, Disk, read_calls

KIT = Path(__file__).parent.parent
SIDES = ("", "-wal")
READY = b"ready\n"
STEP = 16  # one in so many moments is looked at
PLACES = "SELECT task_id, 'accepted' FROM task_queue UNION ALL SELECT job_id, 'recorded' FROM publish_tasks"


def trace_victim(folder: Path, synchronous: str) -> list[Call]:
    """What a program that accepts tasks and records outcomes does to its files, in order."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace, which shows a program's writes, is not installed (Debian: apt install strace)")
    log = folder / "calls.log"
    victim = [sys.executable, "-m", "sqlite.power_victim", str(folder / "everpost.db"), synchronous]
    tracer = [program, "-f", "-y", "-xx", "-s", "1000000", "-o", str(log), "-e", f"trace={TRACED}"]
    done = subprocess.run(
        [*tracer, *victim],
        env={**os.environ, "PYTHONPATH": str(KIT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return list(read_calls(log))


def places_after(folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    """Where each task is in the files that a power cut has left."""
    for path, content in files.items():
        (folder / Path(path).name).write_bytes(content)
    (folder / "everpost.db-shm").unlink(missing_ok=True)
    connection = sqlite3.connect(folder / "everpost.db", isolation_level=None)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute(PLACES).fetchall()
    finally:
        connection.close()
    assert len(dict(rows)) == len(rows)  # I1
    return dict(rows)


def lost_by_cuts(folder: Path, calls: Sequence[Call], chance: random.Random | None) -> list[tuple[str, str]]:
    """Cut the power at many moments; what had been acknowledged by then and is not in the file."""
    disk = Disk({str(folder / f"everpost.db{side}"): b"" for side in SIDES})
    after = folder / "after"
    after.mkdir(exist_ok=True)
    acked: dict[str, str] = {}
    lost: list[tuple[str, str]] = []
    is_ready = False
    for number, call in enumerate(calls):
        if call.name == "write":
            is_ready = is_ready or call.data == READY
            if call.data != READY and is_ready:
                task_id, how_far = call.data.decode().split()
                acked[task_id] = how_far
        disk.replay(call)
        if is_ready and number % STEP == 0:
            places = places_after(after, disk.cut(chance))
            lost += [task for task in acked.items() if places.get(task[0]) not in {task[1], "recorded"}]
    assert len(acked) > 50
    return lost


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    calls = trace_victim(tmp_path, "FULL")
    assert lost_by_cuts(tmp_path, calls, None) == []
    assert lost_by_cuts(tmp_path, calls, random.Random(1)) == []


def test_the_power_cut_loses_unflushed_writes(tmp_path: Path) -> None:
    assert lost_by_cuts(tmp_path, trace_victim(tmp_path, "NORMAL"), None)
