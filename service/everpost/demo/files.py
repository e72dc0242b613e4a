"""The demonstration's posts: a sound, and the task that the original system documents."""

import math
import struct
import wave
from pathlib import Path
from typing import Any

ORIGINALS_TASK: dict[str, Any] = {
    "platform": 1,
    "account_id": "test_account",
    "file_id": 123,
    "title": "测试视频",
    "description": "这是描述",
    "tags": ["测试", "视频"],
}


def write_sound(path: Path) -> Path:
    """A second of the note A as a WAV file."""
    rate = 8_000
    samples = (round(20_000 * math.sin(2 * math.pi * 440 * n / rate)) for n in range(rate))
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return path
