"""Signed addresses of files: who has one can download that file for a while, without a token."""

import hashlib
import hmac

CONTENT_PATH = "/api/v1/files/{file_id}/content"
EXPIRES, SIGNATURE = "expires", "signature"
PURPOSE = b"everpost: addresses of files"  # keys for other purposes differ from these


class FileLinks:
    """Makes and checks signed addresses.

    Args:
        keys: The setting `secret_key`: the first key signs, and all are accepted.
        public_url: The setting of that name.
    """

    def __init__(self, keys: str | None, public_url: str | None) -> None:
        given = (key.strip() for key in (keys or "").split(","))
        self._keys = [hmac.digest(key.encode(), PURPOSE, "sha256") for key in given if key]
        self._public_url = (public_url or "").rstrip("/")

    @property
    def can_sign(self) -> bool:
        """Whether there is a key to sign with, and an address to sign."""
        return bool(self._keys and self._public_url)

    def link(self, file_id: str, expires_s: int) -> str:
        """The address of a file's content until a time: Unix time in seconds."""
        signature = _sign(self._keys[0], file_id, str(expires_s))
        path = CONTENT_PATH.format(file_id=file_id)
        return f"{self._public_url}{path}?{EXPIRES}={expires_s}&{SIGNATURE}={signature}"

    def is_valid(self, file_id: str, expires: str, signature: str, now_ms: int) -> bool:
        """Whether this is the signature of the file's address, and its time is not over."""
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and signature.isascii()):  # noqa: PLR2004
            return False
        is_signed = any(hmac.compare_digest(_sign(key, file_id, expires), signature) for key in self._keys)
        return is_signed and now_ms < int(expires) * 1000


def _sign(key: bytes, file_id: str, expires: str) -> str:
    return hmac.new(key, f"{file_id}\n{expires}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
