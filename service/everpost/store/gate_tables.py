"""Reads which tasks have a limit or are held, with the time zones in which the days of accounts are counted."""

from datetime import tzinfo

from everpost.errors import InvalidValue
from everpost.limits import Scope, lane_of
from everpost.platforms import Catalogue
from everpost.store import Store
from everpost.store.account_zones import zone_named
from everpost.task.gate_table import GateTable


async def read_gate_table(store: Store, catalogue: Catalogue, zone: tzinfo) -> GateTable:
    """The table as the store has it now.

    Args:
        zone: `EVERPOST_TIMEZONE`, for accounts without a zone of their own, and for platforms.

    Raises:
        Unavailable: The store cannot be read.
    """
    stored = await store.limits.find()
    table = GateTable(catalogue, stored.scopes, version=stored.version, zone=zone)
    if not table.counts_days:
        return table
    zones = await _zones_of_accounts(store)
    return GateTable(catalogue, stored.scopes, version=stored.version, zone=zone, zones=zones)


async def _zones_of_accounts(store: Store) -> dict[Scope, tzinfo]:
    """The zones by lane. A zone that this machine does not have counts as none."""
    zones: dict[Scope, tzinfo] = {}
    known: dict[str, tzinfo | None] = {}
    for account in await store.accounts.standings():
        if account.timezone is None:
            continue
        if account.timezone not in known:
            known[account.timezone] = _zone(account.timezone)
        if (zone := known[account.timezone]) is not None:
            zones[lane_of(account.platform, account.account_id)] = zone
    return zones


def _zone(name: str) -> tzinfo | None:
    try:
        return zone_named(name, "$")
    except InvalidValue:
        return None
