"""arq's own tests, with stock arq and with `BatchWorker` in `Worker`'s place; `make arq-suite` runs it.

The source distribution is fetched, never kept; the environment is of its own. Exits with 1 if a test that stock arq
passes fails with BatchWorker and is not among `EXCLUDED`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

VERSION = "0.28.0"
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VENV = ROOT / ".venv" / "arq-suite"
REQUIREMENTS = (
    f"arq[watch]=={VERSION}",
    "dirty-equals",
    "msgpack",
    "pydantic",
    "pytest<9",
    "pytest-asyncio<0.24",  # the suite uses its `event_loop` fixture
    "pytest-mock",
    "pytest-pretty",
    "pytest-timeout",
    "pytz",
    "tzdata",
)
# The suite turns warnings into errors; this one is of redis-py 5, which arq's own lock file does not know yet.
WARNINGS = ("-W", "ignore:Call to deprecated close:DeprecationWarning")

ENGINES = {"stock": "arq.worker.Worker", "batch": "everpost_workers.engine.worker.BatchWorker"}
LEAST_PASSED = 150  # by stock arq; with fewer, it is the environment that is broken

EXCLUDED: Mapping[str, str] = {}
"""Tests that BatchWorker does not pass, each with the reason."""


def make_environment() -> Path:
    """The Python of the suite's own environment, made if it is not there."""
    python = VENV / "bin" / "python"
    stamp = VENV / "installed"
    wanted = "\n".join(REQUIREMENTS)
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--editable", f"{ROOT}[embedded]", *REQUIREMENTS], check=True)
        stamp.write_text(wanted, "utf-8")
    return python


def fetch_suite(python: Path, folder: Path) -> Path:
    """Arq's source distribution, unpacked below `folder`; without its package, so that the installed one is tested."""
    pip = [str(python), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-binary", ":all:", "--dest", str(folder), f"arq=={VERSION}"], check=True)
    with tarfile.open(folder / f"arq-{VERSION}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    suite = folder / f"arq-{VERSION}"
    shutil.rmtree(suite / "arq")
    return suite


def run_suite(python: Path, suite: Path, engine: str, options: list[str]) -> dict[str, str]:
    """The outcome of each test with one engine."""
    outcomes = suite / f"outcomes-{engine}.json"
    env = {
        **os.environ,
        "ARQ_SUITE_ENGINE": engine,
        "ARQ_SUITE_OUTCOMES": str(outcomes),
        "PYTHONPATH": os.pathsep.join([str(HERE), str(suite)]),
    }
    command = [str(python), "-m", "pytest", "-q", "--tb=short", *WARNINGS, "-p", "engine_plugin", "-p", "no:everpost"]
    subprocess.run([*command, *options], cwd=suite, env=env, check=False)
    told = json.loads(outcomes.read_text("utf-8"))
    if told["engine"] != ENGINES[engine]:
        raise RuntimeError(f"{told['engine']} was tested instead of {ENGINES[engine]}")
    found: dict[str, str] = told["outcomes"]
    return found


def compare(stock: Mapping[str, str], batch: Mapping[str, str]) -> list[str]:
    """What is wrong: tests that stock passes and BatchWorker does not, and excluded ones that pass after all."""
    worse = [test for test, outcome in stock.items() if outcome == "passed" and batch.get(test) != "passed"]
    passed = sum(outcome == "passed" for outcome in stock.values())
    return [
        *([f"stock arq passes {passed} tests only: nothing was compared"] if passed < LEAST_PASSED else []),
        *(f"{test}: passes with stock arq and not with BatchWorker" for test in worse if test not in EXCLUDED),
        *(f"{test}: is excluded ({EXCLUDED[test]}), and passes" for test in EXCLUDED if test not in worse),
    ]


def main() -> int:
    """Run both, tell both, say what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pytest_options", nargs="*", help="handed to pytest, after --")
    options = parser.parse_args().pytest_options
    python = make_environment()
    with tempfile.TemporaryDirectory(prefix="arq-suite-") as made:
        suite = fetch_suite(python, Path(made))
        found = {engine: run_suite(python, suite, engine, options) for engine in ENGINES}
    for engine, outcomes in found.items():
        counts = Counter(outcomes.values())
        sys.stdout.write(f"{engine}: {', '.join(f'{count} {outcome}' for outcome, count in sorted(counts.items()))}\n")
    wrong = compare(found["stock"], found["batch"])
    sys.stdout.write("".join(f"{line}\n" for line in wrong) or "BatchWorker passes what stock arq passes.\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
