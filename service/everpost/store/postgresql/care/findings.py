"""The findings of `everpost doctor` about a PostgreSQL server."""

from collections.abc import Iterator
from functools import partial

from everpost.findings import Finding, clock_finding, size_text
from everpost.store.postgresql.care.inspection import LONG_S, ServerFacts, ServerState
from everpost.store.postgresql.link.connection import Record
from everpost.store.postgresql.schema.migrate import migrations

OLDEST_SERVER, NEWEST_SERVER = 14, 18  # the major versions that Everpost is tested with
MANY_XIDS = 500_000_000  # PostgreSQL begins to clean up at 200 million, and stops writing at 2.1 billion
USED_SHARE = 0.8  # of the connections
MANY_DEAD = 100_000  # rows; below that, a table is small whatever its share of dead rows
FAR_BEHIND_BYTES = 256 << 20

finding = partial(Finding, "database")


def server_findings(state: ServerState) -> Iterator[Finding]:
    """The server, its settings and limits."""
    facts = state.facts
    yield _version_finding(facts)
    yield finding("size", size_text(facts.size_bytes))
    yield _durability_finding(facts)
    yield _rights_finding(state)
    yield from _replication_findings(state)
    yield _connections_finding(facts)
    yield clock_finding("database", state.ahead_ms, "this host's")
    yield from _vacuum_findings(state)


def schema_findings(state: ServerState) -> Iterator[Finding]:
    """The tables, and what the next start does to them."""
    if state.version is None and not state.lacking_rights:
        yield finding("schema", "no tables yet; the next start makes them")
    if state.version is None:
        return
    if state.refusal:
        yield finding("schema", f"version {state.version}, not for this Everpost", ok=False, advice=state.refusal)
    elif state.version > len(migrations()):
        yield finding("schema", f"a newer Everpost's (version {state.version}), which this one can serve too", ok=True)
    elif state.version < len(migrations()):
        yield finding("schema", f"an older Everpost's (version {state.version}); the next start adds what is missing")
    else:
        yield finding("schema", "up to date", ok=True)
    if state.strangers:
        advice = "They could change or refuse tasks: remove them."
        yield finding("not Everpost's", ", ".join(state.strangers), ok=False, advice=advice)
    if not state.has_next_month:
        advice = "A worker adds it; until then, tasks end in the default partition. Start one."
        yield finding("partition of tomorrow", "missing", ok=False, advice=advice)


def indexes_finding() -> Finding:
    """Which program compares the indexes with their tables; Everpost's user may not."""
    return finding(
        "indexes", "not compared", advice="`pg_amcheck --heapallindexed DATABASE` does that, as a superuser."
    )


def _version_finding(facts: ServerFacts) -> Finding:
    major = facts.version_number // 10_000
    told = f"PostgreSQL {facts.version}"
    if major < OLDEST_SERVER:
        return finding("server", told, ok=False, advice=f"PostgreSQL {OLDEST_SERVER} or newer is needed.")
    if facts.encoding != "UTF8":
        advice = "Everpost needs a database with ENCODING 'UTF8'."
        return finding("server", f"{told}, encoding {facts.encoding}", ok=False, advice=advice)
    is_tested = major <= NEWEST_SERVER
    advice = "" if is_tested else f"Everpost is tested with {OLDEST_SERVER} to {NEWEST_SERVER}."
    return finding("server", told, True if is_tested else None, advice)


def _durability_finding(facts: ServerFacts) -> Finding:
    off = [name for name in ("fsync", "full_page_writes") if getattr(facts, name) != "on"]
    advice = "A crash of the server's host can lose accepted tasks: set them to on." if off else ""
    return finding(
        "durability", f"{' and '.join(off)} off" if off else "fsync and full_page_writes on", not off, advice
    )


def _rights_finding(state: ServerState) -> Finding:
    facts = state.facts
    if state.lacking_rights:
        advice = f"GRANT SELECT, INSERT, UPDATE, DELETE on them TO {facts.user_name}, or make it their owner."
        return finding("rights", f"none on {', '.join(state.lacking_rights)}", ok=False, advice=advice)
    if not facts.may_create:
        advice = f"GRANT CREATE ON SCHEMA TO {facts.user_name}: migrations and each month's partition need it."
        return finding("rights", "no tables can be made", ok=False, advice=advice)
    missing = []
    if not facts.sees_others:
        missing.append(f"GRANT pg_monitor TO {facts.user_name}")
    if not facts.sees_system:
        missing.append(f"GRANT EXECUTE ON FUNCTION pg_control_system() TO {facts.user_name}")
    told = "all that Everpost needs"
    advice = f"To see standbys, other clients, and a restored server: {'; '.join(missing)}." if missing else ""
    return finding("rights", told, None if missing else True, advice)


def _replication_findings(state: ServerState) -> Iterator[Finding]:
    standbys = state.standbys
    told = ", ".join(f"{row['name'] or 'a standby'} ({row['sync_state'] or 'not shown'})" for row in standbys) or "none"
    if state.synchronous_names:
        is_served = any(row["sync_state"] in {"sync", "quorum", None} for row in standbys)
        advice = (
            ""
            if is_served
            else (
                f"synchronous_standby_names = {state.synchronous_names!r}, and none of them is connected: no task is "
                "accepted until one is."
            )
        )
        yield finding("standbys", f"{told}; synchronous", is_served, advice)
    else:
        advice = "A promotion may lose the last commits; Everpost then pauses dispatch." if standbys else ""
        yield finding("standbys", f"{told}{'; asynchronous' if standbys else ''}", advice=advice)
    behind = [row for row in standbys if (row["behind_bytes"] or 0) > FAR_BEHIND_BYTES]
    if behind:
        told = ", ".join(f"{row['name']} by {size_text(row['behind_bytes'])}" for row in behind)
        yield finding("standbys behind", told, ok=False, advice="Lists that they answer are old, a promotion is slow.")


def _connections_finding(facts: ServerFacts) -> Finding:
    told = f"{facts.connections_used} of {facts.connections} used"
    is_well = facts.connections_used < USED_SHARE * facts.connections
    advice = "" if is_well else "Raise max_connections, or put PgBouncer in transaction mode between."
    return finding("connections", told, is_well, advice)


def _vacuum_findings(state: ServerState) -> Iterator[Finding]:
    facts = state.facts
    old = facts.oldest_xid_age > MANY_XIDS
    advice = "PostgreSQL stops writing at 2.1 billion: find out what keeps VACUUM from ending." if old else ""
    yield finding("age of transactions", f"{facts.oldest_xid_age:,}", not old, advice)
    if facts.autovacuum != "on":
        yield finding("autovacuum", "off", ok=False, advice="Set it to on: dead rows slow down every task.")
    told = "; ".join(map(_told_of_holder, state.holders))
    advice = "End them: they keep dead rows in the tables. pg_terminate_backend(PROCESS) ends one." if told else ""
    yield finding("long transactions", told or f"none for over {LONG_S} s", not told, advice)
    bloated = [row for row in state.dead_rows if row["dead"] > max(MANY_DEAD, row["live"])]
    told = ", ".join(f"{row['dead']:,} of {row['name']} ({size_text(row['size_bytes'])})" for row in bloated)
    advice = "VACUUM them, once no long transaction holds it back." if bloated else ""
    yield finding("dead rows", told or "few", not bloated, advice)


def _told_of_holder(row: Record) -> str:
    return f"{row['what']}, for {row['age_s']:,} s" if row["age_s"] else str(row["what"])
