"""Two versions of Everpost serve one SQLite file, and processes of the version before start again on it.

By default, the version before is a copy of this code that knows fewer triggers. `EVERPOST_CHAOS_PREVIOUS` names a
commit or tag, whose code is then the version before.
"""

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from chaos_kit.dials import PREVIOUS, SEED
from chaos_kit.faults import WHILE
from chaos_kit.load import HANG_S
from chaos_kit.processes import PythonProcess
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass
from everpost.testing import eventually

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).parents[2]
FOLDERS = ("service", "workers", "tests")
SCHEMA = "schema.sql"
ADDED = re.compile(r"CREATE TRIGGER publish_tasks_failure_\w+ .*?END;\n", re.DOTALL)


def code_before(folder: Path) -> Path:
    """The code of the version before."""
    folder.mkdir()
    if PREVIOUS:
        command = ["git", "archive", PREVIOUS, *FOLDERS, SCHEMA]
        archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        return folder
    for part in FOLDERS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    schema, count = ADDED.subn("", (ROOT / SCHEMA).read_text())
    assert count > 1
    (folder / SCHEMA).write_text(schema)
    return folder


def has_sent(worker: PythonProcess) -> bool:
    """Whether it has sent a post since its last start."""
    return b'"task.completed"' in worker.said_since(0)


async def test_the_version_before_serves_a_file_beside_this_one_and_what_it_removes_comes_back(tmp_path: Path) -> None:
    before = code_before(tmp_path / "before")
    settings = {"EVERPOST_LOG_LEVEL": "debug"}  # says which worker has sent what
    scene = Scene(
        tmp_path, seed=SEED, publisher_class=PublisherClass.NONE, apis=2, workers=3, clients=8, settings=settings
    )
    old, new = [scene.apis[0], *scene.workers[:2]], [scene.apis[1], scene.workers[2]]
    for process in old:
        process.run_code_of([before / part for part in FOLDERS])
    async with playing(scene, is_running=False), httpx.AsyncClient(timeout=HANG_S) as client:
        await scene.valkey.start()
        for process in old:
            await process.start()
        scene.load.start()
        await scene.sent(WHILE)
        for process in new:
            await process.start()
        await scene.sent(WHILE)
        scene.close_platform()
        await scene.load.more(WHILE)
        scene.open_platform()
        for process in old:  # they remove what they do not know
            process.kill()
            await process.start()
        await scene.sent(WHILE)
        assert all(map(has_sent, scene.workers))
        api = f"{scene.apis[1].address}/api/v1"
        removed = await client.post(f"{api}/tasks/batch/delete", json={"filter": {"status": "failed"}})
        assert removed.json()["success_count"], removed.text
        for process in old:
            assert await process.stop() == 0

        async def agree() -> bool:
            failures = (await client.get(f"{api}/failures")).json()["total"]
            return bool(failures == (await client.get(f"{api}/tasks?status=failed&limit=1")).json()["total"])

        await eventually(agree, what="as many failures as failed tasks", timeout_s=60)
        verdict = await scene.finish()
    assert verdict.is_good, verdict
