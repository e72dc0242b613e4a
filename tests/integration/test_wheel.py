"""The wheel, installed beside a project that has a `service` and a `workers` of its own."""

import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("service/everpost", "workers/everpost_workers")
PUBLISHERS, TESTING = [
    re.findall(r"```python\n(.*?)```", (ROOT / "docs" / name).read_text("utf-8"), re.DOTALL)
    for name in ("publishers.md", "testing.md")
]

THEIR_TEST = """
import sys

import service
import workers


def test_theirs():
    assert (service.OURS, workers.OURS) == (1, 2)
    loaded = {name for name in sys.modules if name.partition(".")[0] in {"everpost", "everpost_workers"}}
    assert loaded == {"everpost", "everpost.pytest_plugin"}
"""

WHERE_IT_IS = """
def test_the_wheel_is_what_is_used(everpost):
    import sys

    assert sys.modules["everpost"].__file__.startswith(sys.prefix)
    assert sys.modules["everpost_workers"].__file__.startswith(sys.prefix)
"""

THEIR_TYPED_CODE = """
from collections.abc import Mapping
from typing import Any, assert_type

import msgspec

from everpost.publishing import (
    InvalidError,
    NotFound,
    Publisher,
    PublisherClass,
    PublishJob,
    PublishResult,
    Settings,
    idempotency_key,
    read_options,
)
from everpost.testing import ApiRefusal, PublisherDouble, Stack, eventually, everpost_stack


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str


class TheirPublisher(Publisher):
    publisher_class = PublisherClass.CHECKABLE

    def __init__(self, options: Mapping[str, Any], settings: Settings) -> None:
        self.options = assert_type(read_options(options, Options), Options)

    async def publish(self, job: PublishJob) -> PublishResult:
        if job.media is None:
            raise InvalidError("there is nothing to show")
        with job.media.open_file() as file:
            job.trace.sending(f"{len(file.read())} bytes")
        return PublishResult(provider_post_id=job.task_id)

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        return NotFound.NO_VERDICT


async def test_theirs() -> None:
    assert_type(idempotency_key("a", 0), str)
    async with everpost_stack(publisher=PublisherDouble(PublisherClass.KEYED)) as stack:
        assert_type(stack, Stack)
        task_id = assert_type(await stack.publish(title="t"), str)
        assert_type(await stack.wait_until_ended(task_id), dict[str, Any])
        assert_type(stack.publisher.published, list[PublishJob])

        async def times_published() -> int:
            return stack.publisher.times_published(task_id)

        assert_type(await eventually(times_published), int)
        try:
            await stack.retry(task_id)
        except ApiRefusal as refusal:
            assert_type(refusal.code, str | None)
"""

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=strict")


def run(*command: str | Path, folder: Path) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from an unpacked source distribution, so that this one must be whole, too."""
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "hatchling", "build", "-d", folder, "-t")
    run(*build, "sdist", folder=ROOT)
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as sources:
        sources.extractall(folder, filter="data")
    run(*build, "wheel", folder=folder / packed.name.removesuffix(".tar.gz"))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; everything else is that of these tests, so nothing is downloaded."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=environment)
    python = environment / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel, folder=environment
    )
    (packages,) = environment.glob("lib/python*/site-packages")
    # A .pth file in there, such as the one of the editable Everpost, has no effect when its folder is added this way.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return python


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    files = [
        path.relative_to((ROOT / folder).parent).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    packed = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert sorted(packed) == sorted([*files, "everpost/store/sqlite/schema/schema.sql"])
    assert {"everpost/py.typed", "everpost_workers/py.typed"} <= set(packed)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for number, name in enumerate(("service", "workers"), 1):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"OURS = {number}\n")
    return tmp_path


def test_another_project_runs_its_own_tests_and_nothing_of_everpost(python: Path, project: Path) -> None:
    (project / "test_theirs.py").write_text(THEIR_TEST)
    assert "1 passed" in run(python, *PYTEST, folder=project)


def test_the_documents_examples_work_in_another_project(python: Path, project: Path) -> None:
    (project / "test_theirs.py").write_text("\n".join([*TESTING, WHERE_IT_IS]))
    assert "2 passed" in run(python, *PYTEST, folder=project)


@pytest.mark.chaos
def test_publishers_and_tests_of_other_projects_are_strictly_typed(python: Path, project: Path) -> None:
    (project / "theirs.py").write_text(THEIR_TYPED_CODE)
    (project / "documented.py").write_text(PUBLISHERS[0])
    run(
        python, "-m", "mypy", "--strict", "--cache-dir", project / "cache", "theirs.py", "documented.py", folder=project
    )


def test_the_installed_command_runs(python: Path, tmp_path: Path) -> None:
    assert "everpost" in run(python.with_name("everpost"), "--help", folder=tmp_path)
