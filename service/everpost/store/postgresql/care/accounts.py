"""The port's accounts on PostgreSQL, table `publish_accounts`."""

from everpost.limits import lane_of
from everpost.store.accounts import VERSION, Standing, account_of, lane_rule, new_version, row_of, standing_of
from everpost.store.postgresql.care.limits import change_scope
from everpost.store.postgresql.care.meta import set_value
from everpost.store.postgresql.link.connection import Connection
from everpost.store.postgresql.link.database import Database
from everpost.store.postgresql.link.texts import storable
from everpost.task.account_rules import AccountRecord, AccountRule, AccountStatus, concerns_all


class PostgresqlAccounts:
    """See `everpost.store.accounts.Accounts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, account: AccountRecord, now_ms: int) -> AccountRecord | None:
        """See the port."""
        row = row_of(account, now_ms)

        async def add(connection: Connection) -> AccountRecord | None:
            if not await connection.run("add_account", **row):
                return None
            added = await _find(connection, account.platform, account.account_id)
            await _tell(connection, None, added, now_ms)
            return added

        return await self._database.write(add)

    async def find(self, platform: str, account_id: str) -> AccountRecord | None:
        """See the port."""
        return await self._database.read(lambda connection: _find(connection, storable(platform), storable(account_id)))

    async def page(
        self,
        after: tuple[str, str] | None,
        limit: int,
        *,
        platform: str | None = None,
        status: AccountStatus | None = None,
    ) -> list[AccountRecord]:
        """See the port."""
        after_platform, after_account = after or ("", "")
        rows = await self._database.read(
            lambda connection: connection.fetch_all(
                "page_of_accounts",
                after_platform=storable(after_platform),
                after_account=storable(after_account),
                only_platform=platform,
                only_status=None if status is None else status.value,
                limit=limit,
            )
        )
        return [account_of(row) for row in rows]

    async def standings(self) -> list[Standing]:
        """See the port."""
        rows = await self._database.read(lambda connection: connection.fetch_all("find_standings"))
        return [standing_of(list(row.values())) for row in rows]

    async def change(
        self, platform: str, account_id: str, rule: AccountRule, now_ms: int
    ) -> tuple[AccountRecord | None, bool]:
        """See the port."""
        key = {"platform": storable(platform), "account_id": storable(account_id)}

        async def change(connection: Connection) -> tuple[AccountRecord | None, bool]:
            row = await connection.fetch_one("lock_account", **key)
            before = None if row is None else account_of(row)
            after = None if before is None else rule(before)
            if after is None:
                return before, False
            changed = row_of(after, now_ms) | key
            del changed["created_at"]
            await connection.run("change_account", **changed)
            await _tell(connection, before, after, now_ms)
            return await _find(connection, **key), True

        return await self._database.write(change)

    async def remove(self, platform: str, account_id: str, now_ms: int) -> AccountRecord | None:
        """See the port."""
        key = {"platform": storable(platform), "account_id": storable(account_id)}

        async def remove(connection: Connection) -> AccountRecord | None:
            row = await connection.fetch_one("lock_account", **key)
            if row is None:
                return None
            await connection.run("remove_account", **key)
            removed = account_of(row)
            await _tell(connection, removed, None, now_ms)
            return removed

        return await self._database.write(remove)


async def _tell(connection: Connection, before: AccountRecord | None, after: AccountRecord | None, now_ms: int) -> None:
    """Let all processes know of a change, and hold or free the account's lane."""
    if concerns_all(before, after):
        await set_value(connection, VERSION, new_version())
    account = after or before
    if account is not None and (rule := lane_rule(before, after)) is not None:
        await change_scope(connection, lane_of(*account.key), rule, now_ms)


async def _find(connection: Connection, platform: str, account_id: str) -> AccountRecord | None:
    row = await connection.fetch_one("find_account", platform=platform, account_id=account_id)
    return None if row is None else account_of(row)
