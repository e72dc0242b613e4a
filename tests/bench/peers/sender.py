"""Sends tasks to a peer one by one, as `everpost.bench.one_by_one` does to Everpost; `run_one_by_one` starts it."""

from contextlib import closing

from everpost.bench.one_by_one import OneByOneSpec, send_one_by_one
from everpost.bench.programs import read_question, write_answer
from everpost.store.sqlite.library import sqlite3

RECORDED = "SELECT 1 FROM history WHERE job_id = ?"


def main() -> None:
    """Answer one question."""
    spec = read_question(OneByOneSpec)
    with closing(sqlite3.connect(f"file:{spec.database}?mode=ro", uri=True)) as history:
        write_answer(
            send_one_by_one(spec, lambda task_id: history.execute(RECORDED, (task_id,)).fetchone() is not None)
        )


if __name__ == "__main__":
    main()
