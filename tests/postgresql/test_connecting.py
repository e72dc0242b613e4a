"""Ways to a server: TLS, a Unix socket, and PgBouncer."""

import asyncio
import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from chaos_kit.proxy import Proxy
from everpost.database_address import postgresql_address
from everpost.errors import DatabaseUnusable, Unavailable
from everpost.store import Store, open_store
from everpost.store.postgresql.link.commits import WRITERS
from everpost.store.postgresql.link.database import READERS, SEARCHERS
from everpost.store.postgresql.link.faults import LinkLost
from everpost.store.postgresql.link.session import Session
from everpost.testing import eventually
from postgresql.hosts import database_hosts
from postgresql.link_kit import opened, stored
from postgresql.link_load import PATIENCE_S, Writers
from postgresql_server import PostgresqlServer, free_port, identity, shared_server
from store_contract.making import accept
from store_rows import START_MS

DOCS = Path(__file__).parents[2] / "docs"


async def test_tls_is_used_as_the_address_says(certificate: ssl.SSLContext, address: str) -> None:
    name = address.rpartition("/")[2]
    async with Proxy(shared_server().server.socket_path, tls=certificate).serving() as proxy:
        secure = f"postgresql://everpost@localhost:{proxy.port}/{name}?sslnegotiation=direct&sslmode=verify-full"
        trusting = postgresql_address(f"{secure}&sslrootcert={os.environ['SSL_CERT_FILE']}")
        session = await Session.open(trusting.at(trusting.hosts[0]), 0)
        assert await session.raw.fetchval("SELECT current_database()") == name
        await session.close()
        other = postgresql_address(f"{trusting.at(trusting.hosts[0])}".replace("localhost", "127.0.0.1"))
        with pytest.raises(LinkLost, match="certificate"):  # it is for the name localhost only
            await Session.open(other.at(other.hosts[0]), 0)


async def test_an_option_with_a_wrong_value_is_named(address: str) -> None:
    with pytest.raises(DatabaseUnusable, match="EVERPOST_DATABASE: `sslmode` parameter must be one of"):
        await open_store(f"{address}?sslmode=sometimes")


async def test_a_unix_socket_is_a_host(address: str) -> None:
    server, name = shared_server().server, address.rpartition("/")[2]
    store = await open_store(f"postgresql:///{name}?host={server.folder}&port={server.port}&user=everpost")
    await store.meta.set("a", "1")
    assert await store.meta.get("a") == "1"
    await store.close()


class PgBouncer:
    """A PgBouncer in transaction mode before a server."""

    def __init__(self, server: PostgresqlServer, folder: Path) -> None:
        self.port = free_port()
        self._settings, self._users = folder / "pgbouncer.ini", folder / "pgbouncer.users"
        self._users.write_text('"everpost" ""\n')
        self._write(server)
        program = shutil.which("pgbouncer")
        assert program is not None
        command = [program, str(self._settings)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=server.folder, **identity())

    def _write(self, server: PostgresqlServer) -> None:
        self._settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {self._users}\n"
            "pool_mode = transaction\ndefault_pool_size = 2\n"
        )

    def lead_to(self, server: PostgresqlServer) -> None:
        """Let clients keep their connections, which lead to another server from now on."""
        self._write(server)
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def pgbouncer_before(server: PostgresqlServer) -> Iterator[PgBouncer]:
    """A PgBouncer that runs; skips the test without one."""
    if shutil.which("pgbouncer") is None:
        pytest.skip("pgbouncer is not installed (Debian: apt install pgbouncer)")
    with TemporaryDirectory(dir=server.folder) as folder:
        Path(folder).chmod(0o755)
        bouncer = PgBouncer(server, Path(folder))
        try:
            yield bouncer
        finally:
            bouncer.process.send_signal(signal.SIGQUIT)  # at once, though clients are connected
            bouncer.process.wait(PATIENCE_S)


@pytest.fixture
def pgbouncer(address: str) -> Iterator[str]:
    """The address of a PgBouncer in transaction mode before the database."""
    with pgbouncer_before(shared_server().server) as bouncer:
        yield f"postgresql://everpost@127.0.0.1:{bouncer.port}/{address.rpartition('/')[2]}"


@pytest.mark.chaos
async def test_no_task_is_sent_at_a_promoted_standby_to_which_pgbouncer_has_led_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("everpost.store.postgresql.link.database.LOOK_EVERY_S", 60.0)  # no process notices it by itself
    async with database_hosts() as hosts:
        with pgbouncer_before(hosts.primary) as bouncer:
            store = await open_store(f"postgresql://everpost@127.0.0.1:{bouncer.port}/postgres")
            await accept(store, "a", "b")
            await hosts.caught_up()
            await hosts.promote()
            assert await store.ledger.begin_send("a", 1, START_MS)  # the old one knows that, and the new one does not
            bouncer.lead_to(hosts.primary)
            await eventually(lambda: is_refused(store), what="the other server")
            for _ in range(20):
                assert await is_refused(store)
            await store.close()


async def is_refused(store: Store) -> bool:
    try:
        assert not await store.ledger.begin_send("a", 2, START_MS)
    except Unavailable:
        return True
    return False


async def test_pgbouncer_in_transaction_mode_may_be_between(pgbouncer: str) -> None:
    stores = [await open_store(pgbouncer) for _ in range(3)]
    await asyncio.gather(*(store.meta.set(f"key{number}", "1") for store in stores for number in range(20)))
    for store in stores:
        await store.close()
    async with opened(pgbouncer) as database:
        writers = Writers(database)
        async with writers.at_work():
            await writers.go_on(100)
        assert set(await stored(database)).issuperset(writers.confirmed)
        assert not writers.refused


def test_a_process_has_as_many_connections_as_the_documents_say() -> None:
    most = WRITERS + READERS + 2 * SEARCHERS
    for document, said in (
        ("postgresql.md", "Every process has at most {} connections"),
        ("scale.md", "A process has at most {} to PostgreSQL"),
        ("scale.md", "{} times the processes, and 20 more"),
    ):
        assert said.format(most) in (DOCS / document).read_text("utf-8")
