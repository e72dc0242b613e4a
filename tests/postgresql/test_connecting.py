"""Ways to a server: TLS, a Unix socket, and PgBouncer."""

import asyncio
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos_kit.proxy import Proxy
from everpost.database_address import postgresql_address
from everpost.errors import DatabaseUnusable
from everpost.store import open_store
from everpost.store.postgresql.link.commits import WRITERS
from everpost.store.postgresql.link.database import READERS, SEARCHERS
from everpost.store.postgresql.link.faults import LinkLost
from everpost.store.postgresql.link.session import Session
from postgresql.link_kit import opened, stored
from postgresql.link_load import PATIENCE_S, Writers
from postgresql_server import free_port, identity, shared_server

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


@pytest.fixture
def pgbouncer(address: str) -> Iterator[str]:
    """The address of a PgBouncer in transaction mode before the database."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("needs pgbouncer")
    server, name, port = shared_server().server, address.rpartition("/")[2], free_port()
    users, settings = (server.folder / f"{name}.{kind}" for kind in ("users", "ini"))
    users.write_text('"everpost" ""\n')
    settings.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\n"
        "pool_mode = transaction\ndefault_pool_size = 2\n"
    )
    process = subprocess.Popen([program, settings], stderr=subprocess.DEVNULL, cwd=server.folder, **identity())
    yield f"postgresql://everpost@127.0.0.1:{port}/{name}"
    process.terminate()
    process.wait(PATIENCE_S)


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
