"""Runs a module as on a host whose clock is wrong.

    python -m chaos_kit.host_clock AHEAD_S MODULE ARGUMENT...

Only the wall clock of Python code is wrong; time since the boot goes on as before.
"""

import runpy
import sys
import time


def move(ahead_s: float) -> None:
    """Let `time.time` and `time.time_ns` be ahead."""
    true_s, true_ns, ahead_ns = time.time, time.time_ns, round(ahead_s * 1e9)
    time.time = lambda: true_s() + ahead_s
    time.time_ns = lambda: true_ns() + ahead_ns


if __name__ == "__main__":
    _, ahead_s, module, *arguments = sys.argv
    move(float(ahead_s))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
