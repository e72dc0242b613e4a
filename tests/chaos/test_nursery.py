"""The processes of the fault tests are told apart when their ids come again, and are really frozen."""

from pathlib import Path

import pytest

from chaos_kit.nursery import nursery
from chaos_kit.processes import STOPPED_STATES, frozen, states_of_threads

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
BUSY = """
import hashlib, threading
for _ in range(8):
    threading.Thread(target=lambda: [hashlib.sha256(bytes(1 << 16)) for _ in iter(int, 1)]).start()
"""
TRIES = 50  # another process of the machine may be quicker


def test_a_process_with_the_id_of_one_that_ended_is_alive(tmp_path: Path) -> None:
    if not LAST_PID.exists():
        pytest.skip("this system does not say which process id is next")
    with (tmp_path / "output").open("wb") as output:
        for _ in range(TRIES):
            ended = nursery().start(["timeit", "-n1", "-r1"], {}, output)
            assert ended.process.wait() == 0
            try:
                LAST_PID.write_text(f"{ended.pid - 1}")
            except OSError:
                pytest.skip("only root may choose the next process id")
            living = nursery().start(["timeit", "-n1", "-r1", "import time; time.sleep(60)"], {}, output)
            try:
                if living.pid == ended.pid:
                    assert living.exit_code is None
                    assert ended.exit_code == 0
                    return
            finally:
                living.kill()
    raise AssertionError("no process id was given again")


def test_no_thread_of_a_frozen_process_runs(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        busy = nursery().start(["timeit", "-n1", "-r1", BUSY], {}, output)
        try:
            for _ in range(TRIES):
                with frozen(busy):
                    assert set(states_of_threads(busy.pid)) <= STOPPED_STATES
        finally:
            busy.kill()
