"""Runs shell scripts through the publisher `command`, and looks at the processes they leave."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from everpost.platforms import Catalogue
from everpost.publishing import JobKeeper, Media, PublishJob, PublishResult
from everpost.settings import Settings
from everpost_workers.publishers.command.publisher import CommandPublisher

KEY = "0123456789abcdef0123456789abcdef"
SETTINGS = Settings()


class KeptCheckpoints(JobKeeper):
    """Keeps what a program saves and shows."""

    def __init__(self) -> None:
        self.checkpoints: list[Any] = []
        self.progress: list[tuple[float, float | None]] = []

    async def keep(self, checkpoint: bytes) -> None:
        await asyncio.sleep(0)
        self.checkpoints.append(msgspec.json.decode(checkpoint))

    def show(self, done: float, total: float | None) -> None:
        self.progress.append((done, total))


def job_of(data: Mapping[str, Any] | None = None, **fields: Any) -> PublishJob:
    fields = {"platform": Catalogue.read().find("douyin"), "idempotency_key": KEY, **fields}
    return PublishJob(task_id="t1", data=data or {"title": "测试"}, **fields)


def publisher_of(script: str, look_up: str | None = None, **options: Any) -> CommandPublisher:
    if look_up is not None:
        options["look_up"] = ["/bin/sh", "-c", look_up]
    return CommandPublisher({"command": ["/bin/sh", "-c", script], "grace_s": 0.2, **options}, SETTINGS)


async def run(script: str, job: PublishJob | None = None, **options: Any) -> PublishResult:
    return await publisher_of(script, **options).publish(job or job_of())


def media_of(folder: Path, name: str, content: bytes = b"video", content_type: str = "video/mp4") -> Media:
    (folder / name).write_bytes(content)
    return Media(path=folder / name, size_bytes=len(content), filename=name, content_type=content_type, root=folder)


def parent_of(pid: int) -> int:
    return int(Path("/proc", str(pid), "stat").read_text("latin-1").rpartition(")")[2].split()[1])


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path("/proc", str(pid), "stat").read_text("latin-1").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pids_in(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def folders_of(parent: Path) -> list[str]:
    return [path.name for path in parent.iterdir() if path.name.startswith("everpost-command-")]
