"""`python -m everpost.files.probe FILE`: prints a file's width, height and length as JSON.

A library in native code reads the file, which a stranger may have made to break it. So it runs in a process of its own,
with limits of time and memory.
"""

import contextlib
import json
import resource
import sys
from typing import Any

MOST_MEMORY_BYTES = 1 << 30
MOST_CPU_S = 20


def facts_of(tracks: list[dict[str, Any]]) -> dict[str, float | None]:
    """The facts in MediaInfo's tracks. Width and height are as shown: some videos are turned by 90 degrees."""
    kinds = {str(track.get("@type")): track for track in reversed(tracks)}
    shown = kinds.get("Video") or kinds.get("Image") or {}
    width, height = _number(shown.get("Width")), _number(shown.get("Height"))
    if (_number(shown.get("Rotation")) or 0) % 180 == 90:  # noqa: PLR2004 - degrees
        width, height = height, width
    timed = (kinds.get(kind, {}).get("Duration") for kind in ("General", "Video", "Audio"))
    duration = next((found for each in timed if (found := _number(each)) is not None), None)
    return {"width": width, "height": height, "duration_s": duration}


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None  # noqa: PLR2004 - beyond that, the file lies


def _limit() -> None:
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(path: str) -> int:
    """Print the facts; 1 if the library is not installed, or cannot read the file."""
    from pymediainfo import MediaInfo  # noqa: PLC0415 - after the limits

    found = json.loads(MediaInfo.parse(path, output="JSON"))
    tracks = (found.get("media") or {}).get("track") or []
    sys.stdout.write(json.dumps(facts_of(tracks)))
    return 0


if __name__ == "__main__":
    _limit()
    sys.exit(main(sys.argv[1]))
