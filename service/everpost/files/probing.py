"""Finds out a file's dimensions and length, in a child process; see `probe.py`."""

import asyncio
import contextlib
import sys
from pathlib import Path

import msgspec
import structlog

from everpost.publishing.media import MediaFacts

log = structlog.get_logger("everpost.files")

PROBE_S = 20.0
AT_A_TIME = 2
MOST_ANSWER_BYTES = 4_096
HAVE_FACTS = ("image/", "video/", "audio/")


class _Found(msgspec.Struct):
    width: float | None = None
    height: float | None = None
    duration_s: float | None = None


class Prober:
    """Looks at files, a few at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_A_TIME)

    async def facts_of(self, path: Path, content_type: str) -> MediaFacts:
        """The facts of a file; without any if it is no image, video or sound, or cannot be understood."""
        if not content_type.startswith(HAVE_FACTS):
            return MediaFacts()
        async with self._turns:
            try:
                found = msgspec.json.decode(await _ask(path), type=_Found)
            except (OSError, TimeoutError, msgspec.DecodeError) as error:
                log.warning("file.not_probed", file=path.name, content_type=content_type, error=type(error).__name__)
                return MediaFacts()
        return MediaFacts(width=_whole(found.width), height=_whole(found.height), duration_s=found.duration_s)


async def _ask(path: Path) -> bytes:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "everpost.files.probe",
        str(path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )
    assert child.stdout is not None, "it is a pipe"
    try:
        async with asyncio.timeout(PROBE_S):
            answer = await child.stdout.read(MOST_ANSWER_BYTES)
            await child.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
    return answer


def _whole(value: float | None) -> int | None:
    return None if value is None or value < 1 else round(value)
