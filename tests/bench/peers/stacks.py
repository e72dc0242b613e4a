"""The peers' stacks: an environment, an API and a worker for each, on a Valkey and a database of its own."""

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec

from everpost.bench.cost import cpu_s, most_resident_mb, tree_cpu_s
from everpost.bench.stack import HOST, Cost
from everpost.children import Child
from everpost.embedded import EmbeddedValkey
from everpost.probe import ask, free_port
from everpost.store.sqlite.library import sqlite3

HERE = Path(__file__).parent
START_TIMEOUT_S = 60.0
HISTORY = """
CREATE TABLE history (
    id INTEGER PRIMARY KEY, job_id TEXT NOT NULL, status TEXT NOT NULL, task_data TEXT,
    created_at TEXT DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX history_job ON history (job_id);
"""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Another stack that takes the same requests.

    Attributes:
        folder: Of its code and requirements, beside this file.
        worker: Its worker's command line, the first word a program of its environment.
        id_digits: Of its task ids.
        scheme: What its Redis address begins with.
        share: Of the tasks others are sent, where it would take too long.
        one_by_one: The most tasks a run that are sent one after the other; None sends it as many as others.
        python: The oldest Python it runs on.
        needs_server: It works on PostgreSQL alone, without Redis.
    """

    title: str
    folder: str
    worker: tuple[str, ...]
    id_digits: int
    scheme: str = "unix://"
    settings: Mapping[str, str] = {}
    share: float = 1.0
    one_by_one: int | None = None
    python: tuple[int, int] = (3, 11)
    needs_server: bool = False


CELERY_WORKER = ("celery", "--app", "tasks", "worker", "--pool", "prefork", "--loglevel", "WARNING")
PEERS = (
    Peer(
        title="FastAPI + Celery prefork (the original)",
        folder="fastapi_celery",
        worker=CELERY_WORKER,
        id_digits=36,
        scheme="redis+socket://",
        share=0.5,
    ),
    Peer(
        title="Litestar + stock arq, poll 0.01 s, 100 slots",
        folder="litestar_arq",
        worker=("python", "worker.py"),
        id_digits=32,
        settings={"PEER_POLL_S": "0.01", "PEER_SLOTS": "100"},
    ),
    Peer(
        title="Litestar + stock arq, default poll, 100 slots",
        folder="litestar_arq",
        worker=("python", "worker.py"),
        id_digits=32,
        settings={"PEER_SLOTS": "100"},
        share=0.25,
        one_by_one=20,  # each takes half a second
    ),
)


OBAN = Peer(
    title="Litestar + oban-py 0.7, 100 slots",
    folder="litestar_oban",
    worker=("oban", "start", "--log-level", "WARNING", "--queues", "default:100"),
    id_digits=12,
    settings={"OBAN_POOL_MAX_SIZE": "20"},
    share=0.5,
    python=(3, 12),
    needs_server=True,
)
PYTHONS = ((3, 14), (3, 13), (3, 12))


class Server(msgspec.Struct, frozen=True):
    """A PostgreSQL: the address of an empty database, and the process of the server."""

    address: str
    pid: int


def python_for(peer: Peer) -> str:
    """The Python a peer runs on: this one, or a newer one on PATH.

    Raises:
        FileNotFoundError: No Python on PATH is new enough.
    """
    if sys.version_info >= peer.python:
        return sys.executable
    for major, minor in PYTHONS:
        found = shutil.which(f"python{major}.{minor}")
        if found and (major, minor) >= peer.python and _runs(found):
            return found
    raise FileNotFoundError(
        f"{peer.title} needs Python {peer.python[0]}.{peer.python[1]} or newer on PATH; `--sqlite` leaves it out"
    )


def _runs(python: str) -> bool:
    return subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0


def make_environment(peer: Peer, venvs: Path) -> Path:
    """The folder of programs of the peer's own environment, made if it is not there; it may take a minute.

    Raises:
        FileNotFoundError: There is no Python that is new enough.
    """
    programs = venvs / peer.folder / "bin"
    requirements = HERE / peer.folder / "requirements.txt"
    stamp = venvs / peer.folder / "installed"
    if not stamp.exists() or stamp.read_text("utf-8") != requirements.read_text("utf-8"):
        subprocess.run([python_for(peer), "-m", "venv", "--clear", venvs / peer.folder], check=True)
        python = str(programs / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", str(requirements)], check=True)
        stamp.write_text(requirements.read_text("utf-8"), "utf-8")
    return programs


class PeerStack:
    """A peer that runs."""

    def __init__(self, peer: Peer, programs: Path, folder: Path, server: Server | None = None) -> None:
        self.peer = peer
        self.server = server
        self.database = server.address if server else str(folder / "history.db")
        self.port = free_port(HOST, 0)
        self.valkey = None if server else EmbeddedValkey(folder / "valkey")
        self._programs = programs.resolve()
        self._folder = folder
        self.api: Child
        self.worker: Child

    @asynccontextmanager
    async def running(self) -> AsyncIterator["PeerStack"]:
        """Start it, and stop it at the end."""
        self._make_tables()
        children = []
        if self.valkey:
            await self.valkey.start()
        try:
            self.worker = self._spawn(*self.peer.worker)
            children.append(self.worker)
            options = ("--port", str(self.port), "--no-access-log", "--log-level", "warning")
            self.api = self._spawn("uvicorn", "app:app", *options)
            children.append(self.api)
            await self._until_live()
            yield self
        finally:
            for child in children:
                await child.stop()
            if self.valkey:
                await self.valkey.stop()

    def _make_tables(self) -> None:
        if self.server:
            install = [str(self._programs / "oban"), "install", "--dsn", self.database]
            subprocess.run(install, check=True, capture_output=True)
            return
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(HISTORY)

    def _spawn(self, program: str, *arguments: str) -> Child:
        own = {"PEER_DATABASE": self.database, "PYTHONPATH": str(HERE / self.peer.folder)}
        if self.valkey:
            own["PEER_REDIS"] = self.valkey.address.replace("unix://", self.peer.scheme)
        else:
            own["OBAN_DSN"] = self.database
        command = [str(self._programs / program)]
        if program == "python":
            arguments = (str(HERE / self.peer.folder / arguments[0]), *arguments[1:])
        with (self._folder / f"{program}.log").open("ab") as output:
            return Child([*command, *arguments], env={**own, **self.peer.settings}, output=output)

    async def _until_live(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                ask(HOST, self.port, "/health/live")
            except OSError as error:
                if time.monotonic() > deadline or self.api.exit_code is not None or self.worker.exit_code is not None:
                    logs = "".join(log.read_text("utf-8") for log in self._folder.glob("*.log"))
                    raise TimeoutError(f"{self.peer.title} does not start: {logs[-3000:]}") from error
                await asyncio.sleep(0.01)
            else:
                return

    def cost(self) -> Cost:
        """The CPU time used so far, that of child processes included."""
        valkey = self.valkey.child if self.valkey else None
        return Cost(
            api=_family_cpu(self.api.pid),
            worker=_family_cpu(self.worker.pid),
            valkey=cpu_s(valkey.pid) if valkey else None,
            database=tree_cpu_s(self.server.pid) if self.server else None,
        )

    def most_resident_mb(self) -> tuple[float, float]:
        """The most memory of the API and of all processes of the worker, in MB."""
        return _family_mb(self.api.pid), _family_mb(self.worker.pid)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in thread.read_text().split():
            found += family(int(child))
    return found


def _family_cpu(pid: int) -> float:
    return sum(cpu_s(member) or 0.0 for member in family(pid))


def _family_mb(pid: int) -> float:
    return sum(most_resident_mb(member) or 0.0 for member in family(pid))
