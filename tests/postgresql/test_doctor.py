"""What `everpost doctor` and the file commands say about a PostgreSQL server."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from everpost.database_address import with_database
from everpost.errors import DatabaseUnusable
from everpost.findings import Finding
from everpost.store import maintenance_of
from everpost.store.maintenance import Depth
from everpost.store.postgresql.care import inspection
from everpost.store.postgresql.care.findings import schema_findings, server_findings
from everpost.store.postgresql.care.inspection import ServerFacts, ServerState
from postgresql_server import shared_server
from store_rows import START_MS

FACTS = ServerFacts(
    version_number=180_000,
    version="18.0",
    user_name="everpost",
    fsync="on",
    full_page_writes="on",
    autovacuum="on",
    encoding="UTF8",
    size_bytes=1 << 20,
    oldest_xid_age=1_000,
    connections=97,
    connections_used=9,
    sees_others=True,
    sees_system=True,
    may_create=True,
    now_ms=START_MS,
)
STATE = ServerState(
    facts=FACTS,
    ahead_ms=3.0,
    version=2,
    refusal="",
    lacking_rights=[],
    synchronous_names="",
    standbys=[],
    holders=[],
    dead_rows=[],
    strangers=[],
    has_next_month=True,
)
STANDBY = {"name": "s2", "state": "streaming", "sync_state": "async", "behind_bytes": 0}
BLOATED = {"name": "task_queue", "live": 10, "dead": 900_000, "size_bytes": 1 << 30}


OF_FACTS = frozenset(ServerFacts.__struct_fields__)


def findings(**changed: Any) -> dict[str, Finding]:
    own = {"version"} if not isinstance(changed.get("version"), str) else set()  # both structs have one
    of_facts = {name: changed.pop(name) for name in list(changed) if name in OF_FACTS and name not in own}
    state = msgspec.structs.replace(STATE, **changed, facts=msgspec.structs.replace(FACTS, **of_facts))
    return {found.name: found for found in [*server_findings(state), *schema_findings(state)]}


def test_a_healthy_server_has_no_fault() -> None:
    assert {found.ok for found in findings().values()} == {True, None}


@pytest.mark.parametrize(
    ("changed", "name", "ok", "advice"),
    [
        ({"version_number": 130_011, "version": "13.11"}, "server", False, "14 or newer"),
        ({"version_number": 190_000, "version": "19.0"}, "server", None, "14 to 18"),
        ({"encoding": "SQL_ASCII"}, "server", False, "UTF8"),
        ({"fsync": "off"}, "durability", False, "lose accepted tasks"),
        ({"full_page_writes": "off"}, "durability", False, "set them to on"),
        ({"lacking_rights": ["decisions"]}, "rights", False, "GRANT SELECT"),
        ({"may_create": False}, "rights", False, "GRANT CREATE ON SCHEMA"),
        ({"sees_others": False}, "rights", None, "GRANT pg_monitor TO everpost"),
        ({"sees_system": False}, "rights", None, "pg_control_system()"),
        ({"standbys": [STANDBY]}, "standbys", None, "pauses dispatch"),
        ({"standbys": [STANDBY], "synchronous_names": "s1"}, "standbys", False, "no task is accepted"),
        ({"standbys": [STANDBY | {"sync_state": "sync"}], "synchronous_names": "s2"}, "standbys", True, ""),
        ({"standbys": [STANDBY | {"behind_bytes": 1 << 30}]}, "standbys behind", False, "slow"),
        ({"connections_used": 90}, "connections", False, "PgBouncer"),
        ({"ahead_ms": -30_000.0}, "clock", None, ""),
        ({"ahead_ms": 400_000.0}, "clock", False, "NTP"),
        ({"oldest_xid_age": 1_500_000_000}, "age of transactions", False, "2.1 billion"),
        ({"autovacuum": "off"}, "autovacuum", False, "on"),
        ({"holders": [{"what": "process 7 of x", "age_s": 900}]}, "long transactions", False, "pg_terminate_backend"),
        ({"dead_rows": [BLOATED]}, "dead rows", False, "VACUUM"),
        ({"strangers": ["trigger t on task_queue"]}, "not Everpost's", False, "remove them"),
        ({"has_next_month": False}, "partition of tomorrow", False, "worker"),
        ({"version": None}, "schema", None, ""),
        ({"version": 1}, "schema", None, ""),
        ({"version": 99}, "schema", True, ""),
        ({"version": 99, "refusal": "Install the newer one."}, "schema", False, "Install the newer one."),
    ],
)
def test_each_fault_of_a_server_is_named_with_what_to_do(
    changed: dict[str, Any], name: str, ok: bool | None, advice: str
) -> None:
    found = findings(**changed)[name]
    assert found.ok is ok
    assert advice in found.advice


@pytest.fixture
def whole_address() -> Iterator[str]:
    """The address of a database of its own, with Everpost's tables."""
    address = shared_server().new_database()
    yield address
    shared_server().drop(address)


async def inspected(address: str, depth: Depth = Depth.FAST) -> dict[str, Finding]:
    found: Sequence[Finding] = (await maintenance_of(address).inspect(depth, START_MS, 0)).findings
    return {finding.name: finding for finding in found}


async def test_a_long_transaction_a_strange_trigger_and_missing_rights_are_found(
    whole_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "LONG_S", 0)
    with psycopg.connect(whole_address) as idle, psycopg.connect(whole_address, autocommit=True) as admin:
        admin.execute("CREATE FUNCTION nosy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
        admin.execute("CREATE TRIGGER nosy BEFORE INSERT ON task_queue FOR EACH ROW EXECUTE FUNCTION nosy()")
        admin.execute("CREATE ROLE plain LOGIN")
        try:
            idle.execute("SELECT 1")
            found = await inspected(whole_address)
            assert f"process {idle.info.backend_pid} " in found["long transactions"].value
            assert found["not Everpost's"].value == "trigger nosy on task_queue"
            rights = (await inspected(whole_address.replace("everpost@", "plain@")))["rights"]
            assert (rights.ok, "task_queue" in rights.value) == (False, True)
            admin.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            assert not (await inspected(whole_address.replace("everpost@", "plain@")))["rights"].ok
        finally:
            admin.execute("DROP ROLE plain")


async def test_a_server_that_would_lose_commits_and_one_that_is_away_are_not_usable(whole_address: str) -> None:
    name = whole_address.rpartition("/")[2]
    with psycopg.connect(whole_address, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    assert "synchronous_commit" in (await inspected(whole_address))["server"].advice
    away = (await inspected("postgresql://everpost@127.0.0.1:1/nothing"))["server"]
    assert (away.ok, away.value) == (False, "not usable")


async def test_indexes_that_were_not_compared_are_not_called_sound(whole_address: str) -> None:
    found = (await inspected(whole_address, Depth.THOROUGH))["indexes"]
    assert (found.ok, "pg_amcheck" in found.advice) == (None, True)


def test_what_postgresqls_own_tools_do_is_answered_with_their_commands(tmp_path: Path) -> None:
    place = maintenance_of("postgresql://everpost:secret@127.0.0.1:1/everpost")
    for work, told in (
        (lambda: place.back_up(tmp_path / "b"), "pg_dump"),
        (lambda: place.restore(tmp_path / "b", START_MS), "pg_restore"),
        (lambda: place.import_queue(tmp_path / "q.db"), "everpost move"),
        (place.compact, "VACUUM"),
    ):
        with pytest.raises(DatabaseUnusable, match=told) as refused:
            work()
        assert "secret" not in refused.value.message


def test_a_database_beside_another_is_named_by_its_server() -> None:
    assert with_database("postgresql://a:b@h1,h2:5433/x?sslmode=require&dbname=y", "z") == (
        "postgresql://a:b@h1,h2:5433/z?sslmode=require"
    )
