"""The kinds of store that tests run on, and where an empty one is."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from everpost.database_address import is_postgresql


def _new_database(_folder: Path) -> str:
    from postgresql_server import shared_server  # noqa: PLC0415 - it is started only if it is used

    return shared_server().new_database()


ADDRESSES: Mapping[str, Callable[[Path], str]] = MappingProxyType(
    {"sqlite": lambda folder: f"sqlite:///{folder / 'everpost.db'}", "postgresql": _new_database}
)
"""For each kind of store the address of an empty one; files can go into the folder."""

chosen: str | None = None
"""The address of the store that stacks and scenes use; None if each has a file of its own."""


@contextmanager
def empty_store(kind: str, folder: Path) -> Iterator[str]:
    """The address of an empty store, which another test may use afterwards."""
    address = ADDRESSES[kind](folder)
    yield address
    if is_postgresql(address):
        from postgresql_server import shared_server  # noqa: PLC0415 - as above

        shared_server().give_back(address)
