"""Addresses in the options of publishers, checked without a library."""

from urllib.parse import urlsplit

from everpost.errors import SettingsError


def check_address(option: str, address: str, *, allow_http: bool) -> None:
    """Check the address of a platform's server.

    Raises:
        SettingsError: It is not an https:// address.
    """
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        raise SettingsError(f"options.{option}: is not a valid URL.") from error
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise SettingsError(f"options.{option}: must be an https:// address.")
    if parts.scheme == "http" and not allow_http:
        raise SettingsError(f"options.{option}: must be https://, unless allow_http is true.")
    if parts.username is not None or parts.password is not None:
        raise SettingsError(f"options.{option}: must not contain a user or password.")
