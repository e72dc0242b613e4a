"""A small platform over HTTP, and publishers to it that are right or wrong about their class, for trials."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from everpost.publishing import (
    NotFound,
    Publisher,
    PublisherClass,
    PublishJob,
    PublishResult,
    Settings,
    TransientError,
    read_options,
)


class SmallPlatform:
    """Takes posts, with or without keys, and uploads by sessions.

    Attributes:
        texts: Of the posts.
        address: Host and port.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.address = ("127.0.0.1", 0)
        self._of_key: dict[str, int] = {}
        self._sessions: list[dict[str, Any]] = []

    async def posts(self) -> list[str]:
        return self.texts

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["SmallPlatform"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = server.sockets[0].getsockname()[:2]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = first.split(" ")
                answer = json.dumps(self._answer(method, path, headers, body)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    def _answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Any:
        match method, path.strip("/").split("/"):
            case "POST", ["posts"]:
                key = headers.get("idempotency-key")
                if key is not None and key in self._of_key:
                    return {"id": self._of_key[key]}
                post = self._post(json.loads(body)["text"])
                if key is not None:
                    self._of_key[key] = post
                return {"id": post}
            case "POST", ["sessions"]:
                self._sessions.append({"text": json.loads(body)["text"], "post": None})
                return {"session": len(self._sessions) - 1}
            case "POST", ["sessions", number]:
                session = self._sessions[int(number)]
                if session["post"] is None:
                    session["post"] = self._post(session["text"])
                return {"id": session["post"]}
            case _, ["sessions", number]:
                return {"id": self._sessions[int(number)]["post"]}
        raise AssertionError(path)

    def _post(self, text: str) -> int:
        self.texts.append(text)
        return len(self.texts)


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str


class Poster(Publisher):
    """Posts with its key, as its class says."""

    publisher_class = PublisherClass.KEYED
    sends_key = True

    def __init__(self, options: Mapping[str, Any], settings: Settings) -> None:
        self.options = read_options(options, Options)

    async def open(self) -> None:
        self.client = httpx.AsyncClient(base_url=self.options.url, trust_env=False, timeout=30)

    async def close(self) -> None:
        await self.client.aclose()

    async def ask(self, method: str, path: str, **request: Any) -> Any:
        try:
            answer = await self.client.request(method, path, **request)
        except httpx.ConnectError as error:
            raise TransientError("The platform cannot be reached.") from error
        answer.raise_for_status()
        return answer.json()

    async def publish(self, job: PublishJob) -> PublishResult:
        headers = {"Idempotency-Key": job.idempotency_key} if self.sends_key else {}
        post = await self.ask("POST", "/posts", json={"text": job.data["title"]}, headers=headers)
        return PublishResult(provider_post_id=str(post["id"]))


class Keyless(Poster):
    """Claims a key that it does not send."""

    sends_key = False


class Honest(Keyless):
    """Declares nothing."""

    publisher_class = PublisherClass.NONE


class Careless(Keyless):
    """Takes every failure for one that can be repeated."""

    publisher_class = PublisherClass.NONE

    async def publish(self, job: PublishJob) -> PublishResult:
        try:
            return await super().publish(job)
        except httpx.HTTPError as error:
            raise TransientError("Something went wrong.") from error


class Uploader(Poster):
    """Makes a session, saves it, and publishes it: so it can be asked."""

    publisher_class = PublisherClass.CHECKABLE

    async def publish(self, job: PublishJob) -> PublishResult:
        if job.saved is None:
            await job.checkpoint(await self.ask("POST", "/sessions", json={"text": job.data["title"]}))
        await self.before_post(job)
        job.progress(1, 2)
        post = await self.ask("POST", f"/sessions/{job.saved['session']}")
        return PublishResult(provider_post_id=str(post["id"]))

    async def before_post(self, job: PublishJob) -> None:
        """Nothing more to do."""

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        if job.saved is None:
            return NotFound.NOT_FOUND
        post = await self.ask("GET", f"/sessions/{job.saved['session']}")
        return PublishResult(provider_post_id=str(post["id"])) if post["id"] else NotFound.NOT_FOUND


class Blind(Poster):
    """Claims that it can look, and never finds anything."""

    publisher_class = PublisherClass.CHECKABLE
    sends_key = False

    async def look_up(self, job: PublishJob) -> NotFound:
        return NotFound.NOT_FOUND


class Quitter(Poster):
    """Calls a post a success before it is made."""

    async def publish(self, job: PublishJob) -> PublishResult:
        try:
            return await super().publish(job)
        except httpx.HTTPError:
            return PublishResult(provider_post_id="lost")


class Unready(Poster):
    """Cannot be opened."""

    async def open(self) -> None:
        raise OSError("it cannot sign in")
