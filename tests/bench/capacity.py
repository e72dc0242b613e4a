"""What a larger PostgreSQL would bear, computed from what a task costs each part; docs/scale.md has the table.

python tests/bench/capacity.py FILE [--write]     FILE is what `compare.py --json` wrote
"""

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2] / "docs_site"))
from tables import row_of

from marked_text import write_between

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "scale.md"
CORES = (2, 4, 8, 16)
BUSY = 0.7  # of a core or process; the rest is for bursts, vacuum, lists and searches
COLUMNS = (
    "cores of PostgreSQL", "tasks/s", "API processes", "worker processes", "Valkey: cores", "flushes/s at most",
    "log MB/s", "first at its limit",
)  # fmt: skip


class Costs(msgspec.Struct, frozen=True):
    """What a task costs: milliseconds of CPU of each part, flushes to the disk, KB of PostgreSQL's log."""

    api: float
    worker: float
    valkey: float
    database: float
    fsyncs: float
    wal_kb: float


class Load(msgspec.Struct, frozen=True):
    """A load, and what it needs; `valkey_cores` is more than `BUSY` where one Valkey is not enough."""

    tasks_per_s: float
    apis: int
    workers: int
    valkey_cores: float
    fsyncs_per_s: float
    wal_mb_per_s: float


def costs_of(medians: Mapping[str, float]) -> Costs:
    """The costs measured with four APIs and four workers."""
    parts = {part: medians[f"scale_four_{part}"] for part in ("api", "worker", "valkey", "database")}
    return Costs(**parts, fsyncs=medians["scale_four_fsyncs"] / 1_000, wal_kb=medians["scale_four_wal"])


def load_of(costs: Costs, cores: int) -> Load:
    """The load that keeps this many cores of PostgreSQL busy."""
    tasks_per_s = 1_000 * BUSY * cores / costs.database
    return load_at(costs, tasks_per_s)


def load_at(costs: Costs, tasks_per_s: float) -> Load:
    """What so many tasks a second need."""
    per_process = 1_000 * BUSY
    return Load(
        tasks_per_s,
        apis=math.ceil(tasks_per_s * costs.api / per_process),
        workers=math.ceil(tasks_per_s * costs.worker / per_process),
        valkey_cores=tasks_per_s * costs.valkey / 1_000,
        fsyncs_per_s=tasks_per_s * costs.fsyncs,
        wal_mb_per_s=tasks_per_s * costs.wal_kb / 1_000,
    )


def valkey_limit(costs: Costs) -> float:
    """Tasks a second that one Valkey bears: it runs commands on one core."""
    return 1_000 * BUSY / costs.valkey


def table(costs: Costs) -> str:
    """The table, and the costs it is computed from."""
    lines = [row_of(COLUMNS[0], COLUMNS[1:]), "|---|" + "---|" * (len(COLUMNS) - 1)]
    for cores in CORES:
        load = load_of(costs, cores)
        first = "Valkey" if load.tasks_per_s > valkey_limit(costs) else "PostgreSQL"
        lines.append(
            row_of(
                str(cores),
                [
                    f"{_rounded(load.tasks_per_s):,}", str(load.apis), str(load.workers), f"{load.valkey_cores:.1f}",
                    f"{_rounded(load.fsyncs_per_s):,}", f"{load.wal_mb_per_s:.0f}", first,
                ],
            )
        )  # fmt: skip
    head = (
        f"A task costs {costs.api:.3f} ms of CPU in the API, {costs.worker:.3f} in the worker, {costs.valkey:.3f} in "
        f"Valkey and {costs.database:.3f} in PostgreSQL, {costs.fsyncs:.3f} flushes and {costs.wal_kb:.1f} KB of log. "
        f"Each part is kept {BUSY:.0%} busy. One Valkey bears {_rounded(valkey_limit(costs)):,} tasks/s."
    )
    return "\n".join([head, "", *lines])


def _rounded(value: float) -> int:
    """Two digits, because the third is not known."""
    digits = max(0, math.floor(math.log10(value)) - 1) if value >= 1 else 0
    return int(round(value, -digits))


def write_table(costs: Costs) -> None:
    """Write the table into docs/scale.md."""
    DOCUMENT.write_text(write_between(DOCUMENT.read_text("utf-8"), table(costs), "capacity"), "utf-8")


def main() -> None:
    """Print the table of a run, or write it into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--write", action="store_true", help="write the table into docs/scale.md")
    asked = parser.parse_args()
    metrics = msgspec.json.decode(asked.file.read_bytes())["postgresql"]["everpost"]["metrics"]
    costs = costs_of({name: metric["summary"]["median"] for name, metric in metrics.items()})
    sys.stdout.write(f"{table(costs)}\n")
    if asked.write:
        write_table(costs)


if __name__ == "__main__":
    main()
