"""The doctor's look at accounts: references that lead nowhere here, and tokens that no key opens."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence

from everpost.cli.looked_at import opened_to_look
from everpost.credentials.references import resolve_all
from everpost.credentials.vault import Vault, VaultError
from everpost.errors import ServiceError
from everpost.findings import Finding
from everpost.settings import Settings
from everpost.store import Store
from everpost.task.account_rules import AccountRecord, AccountStatus

ABOUT = "accounts"
PAGE = 500
SAMPLE = 5


async def check_accounts(settings: Settings) -> list[Finding]:
    """The findings about registered accounts; none if there are no accounts, or no database that can be read."""
    async with opened_to_look(settings.database_address) as store:
        if store is None:
            return []
        try:
            accounts = [account async for account in _all(store)]
        except ServiceError as error:
            return [Finding(ABOUT, "registered", "cannot be read", ok=False, advice=error.message)]
    if not accounts:
        return []
    return [_counted(accounts), *_waiting(accounts), _references(accounts, settings), *_tokens(accounts, settings)]


async def _all(store: Store) -> AsyncIterator[AccountRecord]:
    after: tuple[str, str] | None = None
    while page := await store.accounts.page(after, PAGE):
        for account in page:
            yield account
        after = page[-1].key


def _counted(accounts: Sequence[AccountRecord]) -> Finding:
    counts = Counter(account.status for account in accounts)
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return Finding(ABOUT, "registered", told)


def _waiting(accounts: Sequence[AccountRecord]) -> Iterator[Finding]:
    held = [account for account in accounts if account.status is AccountStatus.HELD]
    if held:
        told = "; ".join(f"{_name(account)}: {account.reason or 'no reason'}" for account in held[:SAMPLE])
        advice = "Their tasks wait. Mend the credentials, then `everpost accounts resume PLATFORM ACCOUNT`."
        yield Finding(ABOUT, "on hold", told, None, advice)


def _references(accounts: Sequence[AccountRecord], settings: Settings) -> Finding:
    """Whether references lead to values here. Workers of other hosts may have other variables and files."""
    dead = []
    for account in accounts:
        _, faults = resolve_all(account.credentials, os.environ, settings.secrets_root)
        dead += [f"{_name(account)} {name}: {fault}" for name, fault in faults.items()]
    total = sum(len(account.credentials) for account in accounts)
    if not dead:
        return Finding(ABOUT, "references", f"{total}, each with a value", ok=True)
    advice = f"In this environment: {'; '.join(dead[:SAMPLE])}."
    return Finding(ABOUT, "references", f"{len(dead)} of {total} lead nowhere", ok=False, advice=advice)


def _tokens(accounts: Sequence[AccountRecord], settings: Settings) -> Iterator[Finding]:
    stored = [account for account in accounts if account.tokens is not None]
    if not stored:
        return
    vault = Vault(settings.secret_key)
    old, closed = 0, []
    for account in stored:
        try:
            old += vault.sealed_anew(account.tokens or "") is not None
        except VaultError as error:
            closed.append(f"{_name(account)}: {error}")
    if closed:
        told = f"{len(closed)} of {len(stored)} cannot be decrypted"
        yield Finding(ABOUT, "stored tokens", told, ok=False, advice=f"{'; '.join(closed[:SAMPLE])}.")
        return
    advice = "A worker encrypts them with the first key soon; keep the older keys until then." if old else ""
    told = f"{len(stored)}, {old} of them under an older key" if old else f"{len(stored)}, under the first key"
    yield Finding(ABOUT, "stored tokens", told, None if old else True, advice)


def _name(account: AccountRecord) -> str:
    return f"{account.platform}/{account.account_id}"
