"""The guard against duplicates on PostgreSQL, table `recent_posts`; inside the transactions that write tasks.

Whatever accepts or retries a task with a guard locks its digest, after the chains of the tasks that it retries.
"""

from collections.abc import Mapping

from everpost.store.batch_rows import newest_of_chains, recent_posts, recent_rows
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.texts import json_text
from everpost.task.duplicate_rules import Guard, find_duplicates


async def lock_duplicates(connection: Connection, guards: Mapping[str, Guard]) -> dict[str, str]:
    """As `duplicates_among`; no other transaction writes tasks with these digests until this one ends."""
    if not guards:
        return {}
    await connection.fetch_value("lock_ids", task_ids=_digests_of(guards))
    return await duplicates_among(connection, guards)


async def duplicates_among(connection: Connection, guards: Mapping[str, Guard]) -> dict[str, str]:
    """For each new task that must not be accepted, the earlier task that forbids it."""
    rows = await connection.fetch_all("find_recent_posts", digests=_digests_of(guards))
    chains = [row["task_id"] for row in rows]
    ends = newest_of_chains(await connection.fetch_all("find_chain_ends", chain_ids=chains)) if chains else []
    return find_duplicates(guards, recent_posts(rows, ends))


async def keep_guards(connection: Connection, guards: Mapping[str, Guard]) -> None:
    """Let later tasks be compared with these."""
    if guards:
        await connection.run("keep_recent_posts", rows=json_text(recent_rows(guards)))


def _digests_of(guards: Mapping[str, Guard]) -> list[str]:
    return sorted({guard.digest for guard in guards.values()})
