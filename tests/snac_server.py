"""snac: a small real server with Mastodon's client API. It ignores Idempotency-Key."""

import contextlib
import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

import httpx

from everpost.children import Child
from everpost.testing import eventually

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"


class NoSnacError(Exception):
    """The server was not fetched."""


class Snac:
    """A server on a free port of 127.0.0.1, with the account `alice`.

    Attributes:
        token: Alice's access token, once it has started.
    """

    def __init__(self, peers: Path, data: Path) -> None:
        self._program = peers / "snac" / "usr" / "bin" / "snac"
        if not self._program.exists():
            raise NoSnacError(f"There is no snac in {peers}; `make peers` fetches it.")
        self._data = data
        self._child: Child | None = None
        self.port = 0
        self.token = ""

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> Self:
        """Make the server and the account, start it, and sign in."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._run("init", str(self._data), given=f"127.0.0.1\n{self.port}\n127.0.0.1:{self.port}\n\n\n")
        path = self._data / "server.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "protocol": "http"}))
        said = self._run("adduser", str(self._data), "alice")
        password = re.search(r"password is (\S+)", said)
        assert password is not None, said
        with (self._data / "snac.log").open("wb") as log:
            self._child = Child([str(self._program), "httpd", str(self._data)], output=log)
        await eventually(self._answers, what="an answer of snac")
        self.token = await self._sign_in(password[1])
        return self

    async def stop(self) -> None:
        """Stop it."""
        if self._child is not None:
            await self._child.stop(grace_s=5)

    async def statuses(self) -> list[dict[str, Any]]:
        """The public statuses of the account."""
        account = await self._get("/api/v1/accounts/verify_credentials")
        found: list[dict[str, Any]] = await self._get(f"/api/v1/accounts/{account['id']}/statuses", limit="500")
        return found

    async def _get(self, path: str, **params: str) -> Any:
        """An answer; snac closes a connection after each, now and then before the next request is read."""
        headers = {"Authorization": f"Bearer {self.token}"}
        for _ in range(5):
            with contextlib.suppress(httpx.TransportError):
                async with self._client() as client:
                    return (await client.get(path, headers=headers, params=params)).json()
        raise ConnectionError(f"snac does not answer {path}")

    async def _answers(self) -> bool:
        try:
            async with self._client() as client:
                return (await client.get("/api/v1/instance")).is_success
        except httpx.TransportError:
            return False

    async def _sign_in(self, password: str) -> str:
        """The OAuth of https://docs.joinmastodon.org/methods/oauth/; only the form for the password is snac's own."""
        async with self._client() as client:
            asked = {"client_name": "everpost", "redirect_uris": OUT_OF_BAND, "scopes": "read write"}
            app = (await client.post("/api/v1/apps", data=asked)).json()
            form = {"login": "alice", "passwd": password, "redir": OUT_OF_BAND, "cid": app["client_id"], "state": ""}
            code = (await client.post("/oauth/x-snac-login", data=form)).text
            grant = {
                "grant_type": "authorization_code",
                "code": code.strip(),
                "client_id": app["client_id"],
                "client_secret": app["client_secret"],
                "redirect_uri": OUT_OF_BAND,
            }
            return str((await client.post("/oauth/token", data=grant)).json()["access_token"])

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30)

    def _run(self, *words: str, given: str = "") -> str:
        done = subprocess.run([self._program, *words], input=given, capture_output=True, text=True, check=True)
        return done.stdout + done.stderr
