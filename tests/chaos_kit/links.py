"""A fleet of plain processes: each reaches PostgreSQL and Valkey through proxies of its own, which are its links."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from chaos_kit.proxy import Proxy
from chaos_kit.scene import Scene, playing
from postgresql_server import shared_server


class LinkedScene(Scene):
    """The scene.

    Args:
        database: The address of a database on the tests' shared server.

    Attributes:
        links: The proxies of each process, before PostgreSQL and before Valkey.
    """

    def __init__(self, folder: Path, *, database: str, **options: Any) -> None:
        super().__init__(folder, database=database, **options)
        self.links: dict[str, tuple[Proxy, Proxy]] = {}
        for process in (*self.apis, *self.workers):
            links = Proxy(shared_server().server.socket_path), Proxy(self.valkey.socket)
            self.links[process.name] = to_database, to_redis = links
            place = f"postgresql://everpost@127.0.0.1:{to_database.port}/{database.rpartition('/')[2]}"
            process.move_to_host(settings={"EVERPOST_DATABASE": place, "EVERPOST_REDIS": to_redis.address})

    @contextmanager
    def cut(self, *links: Proxy) -> Iterator[None]:
        """Nothing arrives for a while, and no connection is closed."""
        with ExitStack() as stack:
            for link in links:
                stack.enter_context(link.black_hole())
            yield


@asynccontextmanager
async def playing_linked(scene: LinkedScene) -> AsyncIterator[LinkedScene]:
    """The scene with everything running, and nothing left afterwards."""
    async with AsyncExitStack() as stack:
        for link in (link for links in scene.links.values() for link in links):
            await stack.enter_async_context(link.serving())
        await stack.enter_async_context(playing(scene))
        yield scene
