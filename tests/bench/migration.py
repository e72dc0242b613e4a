"""How long a start takes: adopting an original file of many rows, a second start, a fresh file, an import.

python tests/bench/migration.py [ROWS] [FOLDER]
"""

import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from everpost.store.sqlite.library import LIBRARY, sqlite3
from everpost.store.sqlite.schema.import_queue import import_task_queue
from everpost.store.sqlite.schema.migrate import migrate

sys.path.insert(0, str(Path(__file__).parents[1]))
from sqlite.original_database import finished_task, make_original, make_task_queue, queued_task

STARTS = 50


def fill(path: Path, table: str, row: dict[str, object], id_column: str, rows: int) -> None:
    """So many rows like `row`, each with an id and a time of its own."""
    given = {name: f":{name}" for name in row} | {
        id_column: "lower(hex(randomblob(16)))",
        "created_at": "datetime(1700000000 + value * 30, 'unixepoch')",
    }
    if table == "publish_tasks":
        given["status"] = "iif(value % 10, 'success', 'failed')"
        given["platform"] = "CAST(value % 5 + 1 AS TEXT)"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < :rows) "
            f"INSERT INTO {table} ({', '.join(given)}) SELECT {', '.join(given.values())} FROM n",
            {**row, "rows": rows},
        )
        connection.commit()


def show(what: str, seconds: float, path: Path) -> None:
    sys.stdout.write(f"{what:<44} {seconds * 1_000:>10.1f} ms   {path.stat().st_size / 1e6:>8.1f} MB\n")


def main(rows: int, folder: Path) -> None:
    sys.stdout.write(f"{LIBRARY}, {rows} rows\n")
    path = make_original(folder / "original.db", unique=False)
    fill(path, "publish_tasks", finished_task(1), "celery_task_id", rows)
    show("(the original file, without a UNIQUE id)", 0, path)
    report = migrate(path)
    show("adopt it: backup, columns, indexes, counts", report.took_s, path)
    show("start again, median", statistics.median(migrate(path).took_s for _ in range(STARTS)), path)
    show("make a fresh file", migrate(folder / "fresh.db").took_s, folder / "fresh.db")
    queue = make_task_queue(folder / "task_queue.db")
    fill(queue, "task_queue", queued_task(1), "task_id", rows)
    started = time.perf_counter()
    import_task_queue(folder / "fresh.db", queue)
    show("import a task_queue of as many rows", time.perf_counter() - started, folder / "fresh.db")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as made:
        main(count, Path(made))
