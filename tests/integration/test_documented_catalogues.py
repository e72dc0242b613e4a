"""Every catalogue entry that the documents show, as people paste it: its publishers take it, and Everpost starts."""

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli_support import serving
from everpost.platforms import Catalogue
from everpost.settings import Settings
from everpost_workers.publishers.registry import load_publishers

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "platforms").glob("*.md")]
ENTRY = re.compile(r"```toml\n(.*?)```", re.DOTALL)
SHOWN = [
    pytest.param(block, id=f"{path.stem}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(ENTRY.findall(path.read_text("utf-8")), 1)
    if "[platforms." in block or "[limits]" in block
]
TOOT = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "publishers.md").read_text("utf-8"), re.DOTALL)[0]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the documents assume: the package with the publisher `toot`, a program, and a variable."""
    folder = tmp_path / "installed"
    metadata = folder / "my_publishers-1.dist-info"
    metadata.mkdir(parents=True)
    (folder / "my_publishers.py").write_text(TOOT, "utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my_publishers\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[everpost.publishers]\ntoot = my_publishers:TootPublisher\n")
    program = folder / "kuaishou"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    monkeypatch.setenv("PARTNER_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # the worker's environment is not activated
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(folder)
    return folder


def pasted(block: str, folder: Path) -> Path:
    """The catalogue's file with an entry; the program that it names is that of this test."""
    path = folder / "platforms.toml"
    path.write_text(block.replace("/opt/uploaders", str(folder)), "utf-8")
    return path


def named(block: str) -> list[str]:
    """The platforms of an entry."""
    found: dict[str, Any] = tomllib.loads(block).get("platforms", {})
    return list(found)


@pytest.mark.parametrize("block", SHOWN)
def test_a_catalogue_entry_of_the_documents_is_taken_by_its_publishers(block: str, installed: Path) -> None:
    path = pasted(block, installed)
    catalogue = Catalogue.read(path)
    publishers = load_publishers(catalogue, Settings(platforms=path, data=installed))
    assert set(named(block)) <= set(publishers)


def test_every_publisher_has_an_entry_to_paste(installed: Path) -> None:
    used = set()
    for parameter in SHOWN:
        block = str(parameter.values[0])
        catalogue = Catalogue.read(pasted(block, installed))
        used |= {platform.publisher for platform in catalogue.all if platform.name in named(block)}
    assert used >= {entry.name for entry in entry_points(group="everpost.publishers")}


@pytest.mark.chaos
@pytest.mark.parametrize("block", SHOWN)
def test_everpost_starts_with_a_catalogue_entry_of_the_documents(block: str, installed: Path, tmp_path: Path) -> None:
    with serving(tmp_path, PLATFORMS=str(pasted(block, installed))) as up:
        up.wait_for("worker.started")
        shown = {platform["name"] for platform in httpx.get(f"{up.url}/api/v1/platforms", timeout=30).json()["data"]}
        assert {name for name in named(block) if name != "callback"} <= shown
