"""Encrypts rotated tokens of accounts, with keys that only workers have. Needs the library `cryptography`."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

NO_LIBRARY = "the library cryptography is not installed: pip install 'everpost[accounts]'"
NO_KEY = "EVERPOST_SECRET_KEY is not set: `everpost accounts new-key` prints one"


class Sealed(msgspec.Struct, frozen=True):
    """What is encrypted: tokens by name, and a digest of the credentials they were made from."""

    tokens: dict[str, str]
    made_from: str
    account: tuple[str, str]


class VaultError(Exception):
    """Tokens cannot be encrypted or decrypted here; the message says why, and has no secret."""


class Vault:
    """Encrypts with the first key, and decrypts with any of them (Fernet: AES-128-CBC with HMAC-SHA256).

    Args:
        keys: As in `EVERPOST_SECRET_KEY`; None can neither encrypt nor decrypt.
    """

    def __init__(self, keys: str | None) -> None:
        self._keys = [key.strip() for key in (keys or "").split(",") if key.strip()]
        self._made: dict[int, MultiFernet] = {}

    def check(self) -> None:
        """Check that tokens can be encrypted.

        Raises:
            VaultError: They cannot.
        """
        self._fernet()

    def seal(self, sealed: Sealed) -> str:
        """The encrypted tokens as text. Raises the errors of `check`."""
        return self._fernet().encrypt(msgspec.json.encode(sealed)).decode()

    def open(self, text: str, account: tuple[str, str]) -> Sealed:
        """The decrypted tokens of an account.

        Raises:
            VaultError: No key fits, or they are another account's. Also raises the errors of `check`.
        """
        sealed = msgspec.json.decode(self._decrypt(text), type=Sealed)
        if sealed.account != account:  # a row that was copied to another account
            raise VaultError("the stored tokens are another account's")
        return sealed

    def sealed_anew(self, text: str) -> str | None:
        """The tokens encrypted with the first key; None if they already are. Raises the errors of `open`."""
        if self._opens_with_first(text):
            return None
        return self._fernet().encrypt(self._decrypt(text)).decode()

    def _decrypt(self, text: str) -> bytes:
        fernet = self._fernet()
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - `_fernet` says what is missing

        try:
            return fernet.decrypt(text)
        except InvalidToken:
            raise VaultError("no key of EVERPOST_SECRET_KEY decrypts the stored tokens") from None

    def _opens_with_first(self, text: str) -> bool:
        fernet = self._fernet(1)
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - as above

        try:
            fernet.decrypt(text)
        except InvalidToken:
            return False
        return True

    def _fernet(self, most_keys: int = 100) -> "MultiFernet":
        """The cipher over the first keys. The library is imported only when an account has tokens."""
        if not self._keys:
            raise VaultError(NO_KEY)
        if most_keys not in self._made:
            try:
                from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - see above
            except ImportError:
                raise VaultError(NO_LIBRARY) from None
            self._made[most_keys] = MultiFernet([Fernet(key) for key in self._keys[:most_keys]])
        return self._made[most_keys]


def new_key() -> str:
    """A key for `EVERPOST_SECRET_KEY`: 32 random bytes in URL-safe base64, as Fernet defines it."""
    import base64  # noqa: PLC0415 - only a command makes keys
    import secrets  # noqa: PLC0415 - as above

    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
