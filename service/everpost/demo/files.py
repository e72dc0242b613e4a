"""What the demonstration starts from: a database file of the original system, a sound, the seed's task."""

import math
import struct
import wave
from pathlib import Path
from typing import Any

from everpost.store.sqlite.library import sqlite3

OLD_TASK = "3f0c9d52-6a41-4d3e-9d0a-2f6f0f7b1c11"
SEED_TASK: dict[str, Any] = {
    "platform": 1,
    "account_id": "test_account",
    "file_id": 123,
    "title": "测试视频",
    "description": "这是描述",
    "tags": ["测试", "视频"],
}
ORIGINAL_TABLE = """
CREATE TABLE publish_tasks (
    task_id INTEGER PRIMARY KEY AUTOINCREMENT, celery_task_id TEXT, plan_id TEXT, package_id INTEGER, platform TEXT,
    account_id TEXT, material_id TEXT, title TEXT, tags TEXT, cover TEXT, schedule_time DATETIME,
    publish_mode TEXT DEFAULT 'auto', status TEXT DEFAULT 'pending', external_user_id TEXT, external_account_id TEXT,
    result_metrics TEXT, error_message TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME DEFAULT CURRENT_TIMESTAMP, published_at DATETIME
)
"""
OLD_ROW = """
INSERT INTO publish_tasks
    (celery_task_id, platform, account_id, material_id, title, tags, status, error_message, created_at)
VALUES (?, '1', 'old_account', '77', '旧任务', '["旧"]', 'failed', 'cookie expired', ?)
"""


def write_original_database(path: Path) -> None:
    """A file as the original system left it: an old table, one failed task, local times."""
    connection = sqlite3.connect(path)
    connection.execute(ORIGINAL_TABLE)
    connection.execute(OLD_ROW, (OLD_TASK, "2025-11-03 09:30:00"))
    connection.commit()
    connection.close()


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
