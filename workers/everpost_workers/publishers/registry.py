"""Finds the publisher of every platform through entry points in the group `everpost.publishers`."""

import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from everpost.errors import SettingsError
from everpost.platforms import Catalogue, Platform
from everpost.publishing import Publisher
from everpost.settings import Settings
from everpost_workers.publishers.callback import CallbackPublisher

GROUP = "everpost.publishers"
OWN_PACKAGE = __name__.partition(".")[0]

Overrides = Mapping[str, type[Publisher] | Publisher]
"""Publishers by name, preferred to entry points; an instance serves every platform that names it."""


def load_publishers(
    catalogue: Catalogue, settings: Settings, overrides: Overrides = MappingProxyType({})
) -> Mapping[str, Publisher]:
    """The publisher of each platform, by the platform's name: one instance per platform, not opened yet.

    Only publishers that the catalogue names are imported.

    Raises:
        SettingsError: A publisher is unknown, cannot be imported or created, is not a Publisher, or refuses its
            options. The message names the platform.
    """
    installed = cache(_find_installed)  # reads a file of every installed package
    publishers: dict[str, Publisher] = {}
    for platform in catalogue.all:
        try:
            publishers[platform.name] = _publisher(platform, settings, overrides, installed)
        except SettingsError as error:
            raise SettingsError(f"platforms.{platform.name}.{error.message}") from error
        except Exception as error:  # foreign code, whose message may hold secrets
            place = traceback.extract_tb(error.__traceback__)[-1]
            told = f"{platform.publisher!r} cannot be made: {type(error).__name__} at {place.filename}:{place.lineno}."
            raise SettingsError(f"platforms.{platform.name}.publisher: {told}") from error
    return MappingProxyType(publishers)


@asynccontextmanager
async def opened_publishers(publishers: Mapping[str, Publisher]) -> AsyncIterator[Mapping[str, Publisher]]:
    """Open every publisher once, even if platforms share it; close them in reverse order, also after an error."""
    async with AsyncExitStack() as stack:
        for publisher in dict.fromkeys(publishers.values()):
            await publisher.open()
            stack.push_async_callback(publisher.close)
        yield publishers


def _find_installed() -> Mapping[str, EntryPoint]:
    """By name; another package's publisher is preferred to one of Everpost's own of the same name."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: not entry.value.startswith(f"{OWN_PACKAGE}."))
    return {entry.name: entry for entry in found}


def _publisher(
    platform: Platform, settings: Settings, overrides: Overrides, installed: Callable[[], Mapping[str, EntryPoint]]
) -> Publisher:
    chosen = CallbackPublisher if platform.internal else overrides.get(platform.publisher)
    if isinstance(chosen, Publisher):
        return chosen
    if chosen is None:
        found = installed()
        chosen = _load_class(platform.publisher, found, [*overrides, *found])
    return chosen(platform.options, settings)


def _load_class(name: str, found: Mapping[str, EntryPoint], known: list[str]) -> type[Publisher]:
    if name not in found:
        raise SettingsError(
            f"publisher: there is no publisher {name!r}; installed are {', '.join(sorted(set(known)))}."
        )
    try:
        loaded = found[name].load()
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"publisher: {name!r} ({found[name].value}) cannot be imported: {error}.") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Publisher)):
        raise SettingsError(f"publisher: {name!r} ({found[name].value}) is not a subclass of Publisher.")
    return loaded
