"""Two versions of Everpost serve one PostgreSQL: the newer one changes the tables while the one before takes posts.

By default the version before is this code, and the newer one a copy of it with one more migration.
`EVERPOST_CHAOS_PREVIOUS` names a commit or tag, whose code is then the version before. If it has all migrations of this
code, the newer one is that copy, or else it is this code.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos_kit.dials import PREVIOUS, SEED
from chaos_kit.faults import WHILE
from chaos_kit.processes import PythonProcess
from chaos_kit.scene import Scene, playing
from everpost.publishing import PublisherClass
from everpost.store.postgresql.schema.migrate import FOLDER, migrations
from postgresql.kit import PostgresqlKit
from postgresql_server import shared_server

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).parents[2]
CODE = ("service", "workers", "tests")
PAUSE_S = 1.0  # the longest that a post may wait while the tables change

LATER = """-- needs: {needs}
ALTER TABLE task_queue ADD later text NOT NULL DEFAULT 'as before';
ALTER TABLE publish_tasks ADD later text NOT NULL DEFAULT 'as before';
ALTER TABLE publish_tasks_archive ADD later text NOT NULL DEFAULT 'as before';
CREATE INDEX publish_tasks_later ON ONLY publish_tasks (later);
CREATE TABLE later_accepted (task_id text PRIMARY KEY);
CREATE FUNCTION note_later() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO later_accepted SELECT task_id FROM added ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER noted_later AFTER INSERT ON task_queue
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_later();
"""
"""What the rules at the head of `migrate.py` allow, on the tables that every task goes through."""


@pytest.fixture
def database() -> Iterator[str]:
    """The address of an empty database without tables."""
    address = shared_server().new_database(template="template0")
    yield address
    shared_server().give_back(address)


def code_of(commit: str, folder: Path) -> Path:
    """The code of a commit."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit, *CODE], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return folder


def code_with_one_more_migration(folder: Path) -> Path:
    """A copy of this code, which changes the tables once more."""
    for part in CODE:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    *_, last = migrations()
    made = folder / FOLDER.relative_to(ROOT) / f"{int(last.name[:4]) + 1:04}_later.sql"
    made.write_text(LATER.format(needs=last.version))
    return folder


def migrations_of(code: Path) -> list[str]:
    """The texts of the migrations, in order."""
    return [path.read_text() for path in sorted((code / FOLDER.relative_to(ROOT)).glob("[0-9]*_*.sql"))]


def version_of(kit: PostgresqlKit) -> int:
    """The version of the tables."""
    ((version,),) = kit.select("SELECT max(version) FROM everpost_schema")
    return int(version)


def has_sent(worker: PythonProcess) -> bool:
    """Whether it has sent a post since its last start."""
    return b'"task.completed"' in worker.said_since(0)


async def test_the_version_before_takes_and_sends_posts_while_a_newer_one_changes_the_tables(
    tmp_path: Path, database: str
) -> None:
    before = code_of(PREVIOUS, tmp_path / "before") if PREVIOUS else ROOT
    applied = migrations_of(before)
    assert migrations_of(ROOT)[: len(applied)] == applied, f"a migration was changed after {PREVIOUS}"
    newer = ROOT if len(migrations()) > len(applied) else code_with_one_more_migration(tmp_path / "newer")
    scene = Scene(
        tmp_path,
        seed=SEED,
        publisher_class=PublisherClass.NONE,
        apis=2,
        workers=3,
        clients=8,
        slowest_s=PAUSE_S,
        database=database,
        settings={"EVERPOST_LOG_LEVEL": "debug"},  # says which worker has sent what
    )
    old, new = [scene.apis[0], *scene.workers[:2]], [scene.apis[1], scene.workers[2]]
    for processes, code in ((old, before), (new, newer)):
        if code != ROOT:
            for process in processes:
                process.run_code_of([code / part for part in CODE])
    async with playing(scene, is_running=False):
        await scene.valkey.start()
        for process in old:
            await process.start()
        kit = PostgresqlKit(database)
        assert version_of(kit) == len(applied)
        scene.load.start()
        await scene.sent(WHILE)
        with scene.load.timed() as waits_s:
            await new[0].start()  # it changes the tables
            assert version_of(kit) == len(migrations_of(newer)) > len(applied)
            await scene.load.more(WHILE)
        await new[1].start()
        await scene.sent(WHILE)
        assert all(map(has_sent, scene.workers))
        for process in old:
            process.kill()
            await process.start()  # the version before can serve the new tables
        await scene.sent(WHILE)
        assert all(map(has_sent, scene.workers))
        for process in old:
            assert await process.stop() == 0
        await scene.sent(WHILE)
        verdict = await scene.finish()
    assert verdict.is_good, verdict
    assert not scene.load.answers["503"]
    sys.stdout.write(f"\nposts waited {max(waits_s):.3f} s at most while the tables changed\n")
