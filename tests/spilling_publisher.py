"""A publisher that puts its account's secrets wherever it can, installed like a real one, and its catalogue.

A post's field `do` says where. Each attempt that is told to kill its worker does so until it runs in a cell.
"""

from pathlib import Path

MODULE = """
import base64
import logging
import os
import signal
from urllib.parse import quote

import structlog

from everpost import publishing as base

structured = structlog.get_logger("everpost.spill")
plain = logging.getLogger("everpost.spill")


class Spilling(base.Publisher):
    needs_account = True

    async def publish(self, job):
        before = await job.account.credentials()
        async with job.account.refreshing() as tokens:
            if "fresh" not in tokens:
                await tokens.store({"fresh": os.environ["EVERPOST_ACCOUNT_ROTATED"]})
        secrets = await job.account.credentials()
        said = " ".join([*secrets.values(), quote("&".join(secrets.values())), repr(secrets)])
        said += " " + base64.b64encode(("user:" + secrets["env"]).encode()).decode()
        structured.warning("spill.structured", secrets=secrets, said=said, error=ValueError(said))
        plain.warning("spill %s", said)
        job.trace.sending(said)
        await job.checkpoint({said: [said], "n": 7})
        match job.data.get("do"):
            case "result":
                url = f"https://x/{secrets['file']}"
                detail = {said: [said, {"a": said}]}
                return base.PublishResult(provider_post_id=secrets["env"], publish_url=url, detail=detail)
            case "long":
                raise base.PermanentError("x" * (4_000 - 10) + secrets["env"])
            case "crash":
                try:
                    raise ValueError(said)
                except ValueError as error:
                    raise RuntimeError(said) from error
            case "group":
                raise ExceptionGroup(said, [ValueError(said)])
            case "unknown":
                raise base.OutcomeUnknownError(said)
            case "auth":
                raise base.AuthError(said)
            case "blocked":
                raise base.AccountBlockedError(said)
            case "transient":
                raise base.TransientError(said)
            case "cell":
                if not IN_CELL:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise RuntimeError(said)
        raise base.InvalidError(said)

    async def check_account(self, account):
        secrets = await account.credentials()
        raise RuntimeError(repr(secrets))


class SpillingKeyed(Spilling):
    publisher_class = base.PublisherClass.KEYED


IN_CELL = "_EVERPOST_CELL" in os.environ
"""
PLATFORMS = """
[platforms.douyin]
publisher = "spilling"
needs_account = true
max_attempts = 1
options = {}

[platforms.kuaishou]
publisher = "spilling_keyed"
options = {}
"""


def install(folder: Path) -> dict[str, str]:
    """Install it; what `everpost` needs to find it: variables without their prefix, and Python's path."""
    folder.mkdir()
    (folder / "spilling.py").write_text(MODULE)
    metadata = folder / "spilling-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: spilling\nVersion: 1\n")
    entries = "[everpost.publishers]\nspilling = spilling:Spilling\nspilling_keyed = spilling:SpillingKeyed\n"
    (metadata / "entry_points.txt").write_text(entries)
    (folder / "platforms.toml").write_text(PLATFORMS)
    return {"PLATFORMS": str(folder / "platforms.toml")}
