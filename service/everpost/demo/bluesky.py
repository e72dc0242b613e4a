"""`everpost demo --platform bluesky`: posts to a real Bluesky server here, also when the worker is killed."""

import base64
import os
import secrets
import struct
import zlib
from contextlib import AsyncExitStack
from pathlib import Path

from everpost.demo.pds import Pds
from everpost.demo.peers import peers_folder
from everpost.demo.stack import DemoStack, until

ACCOUNT = "alice.test"
CREDENTIAL = "EVERPOST_ACCOUNT_ALICE"
PLATFORMS = """[platforms.bluesky]
options = {{ service = "{service}", video_service = "", allow_http = true, allow_private = true }}
"""


class BlueskyDemo(DemoStack):
    """One run of all steps."""

    async def run(self) -> None:
        """Start everything, run the steps, stop everything.

        Raises:
            NoPdsError: There is no Bluesky server on this machine.
            DemoFailedError: A step did not hold.
        """
        async with AsyncExitStack() as cleanup:
            await self.starts_a_bluesky_server(cleanup)
            await self.start(cleanup)
            await self.registers_the_account()
            await self.posts_with_a_picture()
            await self.posts_once_although_the_worker_is_killed()

    async def starts_a_bluesky_server(self, cleanup: AsyncExitStack) -> None:
        """Start the server, and make an account there."""
        self.step("Start a Bluesky server, and make an account there")
        self.pds = Pds(peers_folder(os.environ), self.folder / "pds")
        cleanup.push_async_callback(self.pds.stop)
        await self.pds.start()
        self.did, password = await self.pds.create_account("alice")
        self.tell(f"{self.pds.url}, the account {ACCOUNT} ({self.did})")
        platforms = self.folder / "platforms.toml"
        platforms.write_text(PLATFORMS.format(service=self.pds.url), "utf-8")
        self.points = self.folder / "points"
        self.points.mkdir()
        self.more_environment = {
            "EVERPOST_PLATFORMS": str(platforms),
            "EVERPOST_FAILPOINTS": str(self.points),
            "EVERPOST_LEASE": "2",
            "EVERPOST_SECRET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            CREDENTIAL: password,
        }

    async def registers_the_account(self) -> None:
        """Register the account with a reference to its app password, and have it tested."""
        self.step("Register the account; the app password stays in an environment variable of the worker")
        asked = {"platform": "bluesky", "account_id": ACCOUNT, "credentials": {"password": f"env:{CREDENTIAL}"}}
        answer = await self.client.post("/api/v1/accounts", json=asked)
        self.check(answer.is_success, f"POST /accounts: {answer.status_code}")
        answer = await self.client.post(f"/api/v1/accounts/bluesky/{ACCOUNT}/test")
        self.check(answer.is_success and self.did in answer.text, f"the server knows it: {ACCOUNT} ({self.did})")

    async def posts_with_a_picture(self) -> None:
        """A post with a link, a tag and a picture."""
        self.step("Post a text with a link, a tag and a picture")
        write_picture(self.media / "square.png")
        text = "测试: https://example.com #everpost"
        task_id = await self.publish(
            platform="bluesky", account_id=ACCOUNT, text=text, file_path="square.png", alt="a grey square"
        )
        task = await self.until_ended(task_id)
        self.check(task["status"] == "success", f"it was published: {task['provider_post_id']}")
        (post,) = await self.pds.posts_of(self.did)
        image = post["value"]["embed"]["images"][0]
        self.check(post["value"]["text"] == text, f"the server has it: {text}")
        self.check(len(post["value"]["facets"]) == 2, "the link and the tag can be clicked")  # noqa: PLR2004 - see text
        self.check(image["alt"] == "a grey square", "and so is the picture, with its description")

    async def posts_once_although_the_worker_is_killed(self) -> None:
        """The worker dies after the server has taken the post, before Everpost knows."""
        self.step("The worker is killed when the server has just taken the post")
        (self.points / "send.after").write_text("kill", "ascii")
        task_id = await self.publish(platform="bluesky", account_id=ACCOUNT, text="sent once")
        worker = self.worker
        assert worker is not None, "the worker runs"

        async def is_dead() -> bool:
            return worker.exit_code is not None

        await until(is_dead, "the end of the worker")
        self.tell("the worker is dead (SIGKILL); the post is there and not recorded")
        await self.start_worker()
        task = await self.until_ended(task_id)
        numbers = [attempt["number"] for attempt in task["attempts"]]
        self.check(task["status"] == "success", f"another worker sent it again with its key, attempts {numbers}")
        texts = [post["value"]["text"] for post in await self.pds.posts_of(self.did)]
        self.check(texts.count("sent once") == 1, "and the server has it once")


def write_picture(path: Path) -> Path:
    """A grey square as a PNG file."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack("!I", len(content)) + kind + content + struct.pack("!I", zlib.crc32(kind + content))

    size, rows = 64, b"".join(b"\0" + b"\x88" * 64 for _ in range(64))
    head = struct.pack("!IIBBBBB", size, size, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path
