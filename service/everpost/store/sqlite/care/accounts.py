"""The port's accounts on SQLite, table `publish_accounts`."""

from collections.abc import Mapping, Sequence
from typing import Any

from everpost.limits import lane_of
from everpost.store.accounts import VERSION, Standing, account_of, lane_rule, new_version, row_of, standing_of
from everpost.store.sqlite.care.limits import change_scope
from everpost.store.sqlite.care.meta import set_value
from everpost.store.sqlite.file.database import Database
from everpost.store.sqlite.library import sqlite3
from everpost.store.sqlite.queries import load
from everpost.task.account_rules import AccountRecord, AccountRule, AccountStatus, concerns_all


class SqliteAccounts:
    """See `everpost.store.accounts.Accounts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, account: AccountRecord, now_ms: int) -> AccountRecord | None:
        """See the port."""
        row = row_of(account, now_ms)

        def add(connection: sqlite3.Connection) -> AccountRecord | None:
            if not connection.execute(load("add_account"), row).rowcount:
                return None
            added = _find(connection, row)
            _tell(connection, None, added, now_ms)
            return added

        return await self._database.write(add)

    async def find(self, platform: str, account_id: str) -> AccountRecord | None:
        """See the port."""
        key = {"platform": platform, "account_id": account_id}
        return await self._database.read(lambda connection: _find(connection, key))

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
        wanted = {"after_platform": after_platform, "after_account": after_account, "limit": limit}
        wanted |= {"only_platform": platform, "only_status": None if status is None else status.value}
        rows = await self._database.read(
            lambda connection: connection.execute(load("page_of_accounts"), wanted).fetchall()
        )
        return [_account(row) for row in rows]

    async def standings(self) -> list[Standing]:
        """See the port."""
        rows = await self._database.read(lambda connection: connection.execute(load("find_standings")).fetchall())
        return [standing_of(row) for row in rows]

    async def change(
        self, platform: str, account_id: str, rule: AccountRule, now_ms: int
    ) -> tuple[AccountRecord | None, bool]:
        """See the port."""
        key = {"platform": platform, "account_id": account_id}

        def change(connection: sqlite3.Connection) -> tuple[AccountRecord | None, bool]:
            before = _find(connection, key)
            after = None if before is None else rule(before)
            if after is None:
                return before, False
            connection.execute(load("change_account"), row_of(after, now_ms) | key)
            _tell(connection, before, after, now_ms)
            return _find(connection, key), True

        return await self._database.write(change)

    async def remove(self, platform: str, account_id: str, now_ms: int) -> AccountRecord | None:
        """See the port."""
        key = {"platform": platform, "account_id": account_id}

        def remove(connection: sqlite3.Connection) -> AccountRecord | None:
            before = _find(connection, key)
            if before is not None:
                connection.execute(load("remove_account"), key)
                _tell(connection, before, None, now_ms)
            return before

        return await self._database.write(remove)


def _tell(
    connection: sqlite3.Connection, before: AccountRecord | None, after: AccountRecord | None, now_ms: int
) -> None:
    """Let all processes know of a change, and hold or free the account's lane."""
    if concerns_all(before, after):
        set_value(connection, VERSION, new_version())
    account = after or before
    if account is not None and (rule := lane_rule(before, after)) is not None:
        change_scope(connection, lane_of(*account.key), rule, now_ms)


def _find(connection: sqlite3.Connection, key: Mapping[str, Any]) -> AccountRecord | None:
    wanted = {name: key[name] for name in ("platform", "account_id")}
    row = connection.execute(load("find_account"), wanted).fetchone()
    return None if row is None else _account(row)


def _account(row: Sequence[Any]) -> AccountRecord:
    return account_of(dict(zip(AccountRecord.__struct_fields__, row, strict=True)))
