"""`everpost files`, and what the doctor says of media."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from api_support import NO_REDIS, serving
from cli_support import environment, run_process
from everpost.cli.file_checkup import check_files
from everpost.testing import eventually
from media_samples import png

PNG = png(30, 20)


async def said(*arguments: str, code: int = 0, **settings: str) -> str:
    """What a command prints while the API of this process serves."""
    done = await asyncio.to_thread(run_process, *arguments, env=environment(**settings))
    assert done.returncode == code, done.stderr
    return str(done.stdout + done.stderr)


async def test_files_are_uploaded_listed_shown_and_deleted(tmp_path: Path) -> None:
    big = tmp_path / "大.bin"
    big.write_bytes(os.urandom(3 << 20))
    (tmp_path / "a.png").write_bytes(PNG)
    async with serving(tmp_path / "data", None) as api:
        given: dict[str, Any] = {"DATA": str(tmp_path / "data"), "REDIS": NO_REDIS}
        url = ("--url", api.address)
        lines = await said("files", "upload", str(big), str(tmp_path / "a.png"), *url, **given)
        big_id, png_id = (line.split()[0] for line in lines.splitlines())
        assert (await api.client.get(f"/api/v1/files/{big_id}/content")).content == big.read_bytes()
        listed = await said("files", "list", *url, **given)
        assert "大.bin" in listed
        assert "2 uploaded files, 3.0 MiB" in listed
        shown = await said("files", "show", png_id, *url, **given)
        assert "image/png" in shown
        task_id = await api.publish(file_id=png_id)
        refused = await said("files", "delete", png_id, big_id, *url, code=1, **given)
        assert task_id in refused
        assert f"{big_id} deleted" in refused
        answer = json.loads(await said("files", "show", png_id, "--json", *url, **given))
        assert answer["data"]["used_by"] == [task_id]
        assert "no file" in await said("files", "show", "f" * 32, *url, code=1, **given)


@pytest.mark.chaos
async def test_a_folder_is_registered_and_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    (folder / "summer").mkdir(parents=True)
    (folder / "summer" / "a.png").write_bytes(PNG)
    async with serving(tmp_path / "data", None) as api:
        given: dict[str, Any] = {"DATA": str(tmp_path / "data"), "REDIS": NO_REDIS}
        first = await said("files", "register", str(folder), "--name", "shared", **given)
        assert "1 added, 0 changed, 0 unchanged, 0 unreadable" in first
        again = await said("files", "register", str(folder), "--name", "shared", **given)
        assert "0 added, 0 changed, 1 unchanged, 0 unreadable" in again
        (file,) = (await api.client.get("/api/v1/files")).json()["data"]
        assert (file["folder"], file["file_path"], file["width"]) == ("shared", "summer/a.png", 30)
        await said("files", "register", str(folder), "--name", "uploads", code=2, **given)
        await said("files", "unregister", "shared", **given)
        await said("files", "unregister", "shared", code=1, **given)
        assert (await api.client.get("/api/v1/files")).json()["data"] == []


async def test_the_doctor_tells_of_files_without_records_and_the_reverse(tmp_path: Path) -> None:
    async with serving(tmp_path, None, files_quota=100) as api:
        assert await check_files(api.settings) == []
        stored = [(await api.client.post("/api/v1/files", content=b"x" * 46)).json()["file_id"] for _ in range(2)]
        root = api.settings.files_root
        (root / stored[0]).unlink()
        (root / ("0" * 32 + ".mp4")).write_bytes(b"stray")
        found = {finding.name: finding for finding in await check_files(api.settings)}
        assert (found["files"].ok, found["folder"].ok) == (False, True)
        assert (found["missing on this host"].value, found["without a record"].value) == ("1", "1")
        assert stored[0] in found["missing on this host"].advice


@pytest.mark.chaos
async def test_an_upload_of_the_command_goes_on_when_the_api_is_back(tmp_path: Path, unused_tcp_port: int) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(os.urandom(8 << 20))
    given: dict[str, Any] = {"DATA": str(tmp_path / "data"), "REDIS": NO_REDIS}
    async with serving(tmp_path / "data", None, port=unused_tcp_port) as api:
        uploading = asyncio.create_task(said("files", "upload", str(big), "--url", api.address, **given))
        await eventually(lambda: asyncio.to_thread(api.settings.files_root.exists), what="the upload")
    async with serving(tmp_path / "data", None, port=unused_tcp_port) as api:
        file_id = (await uploading).split()[0]
        assert (await api.client.get(f"/api/v1/files/{file_id}/content")).content == big.read_bytes()
