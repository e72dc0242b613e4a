"""Sends tasks to a peer one by one, as `everpost.bench.one_by_one` does to Everpost; `run_one_by_one` starts it."""

import sys
from pathlib import Path

from everpost.bench.one_by_one import OneByOneSpec, send_one_by_one
from everpost.bench.programs import read_question, write_answer

sys.path.insert(0, str(Path(__file__).parents[1]))
from peers.histories import history_at


def main() -> None:
    """Answer one question."""
    spec = read_question(OneByOneSpec)
    with history_at(spec.database) as history:
        write_answer(send_one_by_one(spec, history.is_recorded))


if __name__ == "__main__":
    main()
