"""Uploads a file by the API's resumable uploads (tus.io), so that it goes on after restarts of the API."""

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from everpost.cli.client import Api, ApiRefused, ApiUnreachable
from everpost.files.names import clean_name
from everpost.printable import printable

TUS = {"Tus-Resumable": "1.0.0"}
STEP_BYTES = 256 << 20  # of one request: what was answered is on the server's disk
READ_BYTES = 1 << 18
PAUSES_S = (0.2, 1.0, 2.0, 5.0, 10.0, 20.0)  # between tries
Answer = TypeVar("Answer")
AGAIN = frozenset({409, 423, 500, 502, 503, 504})


def upload_path(api: Api, path: Path) -> dict[str, Any]:
    """Upload a file; the API's answer about it.

    Raises:
        ApiUnreachable: No API answers, after several tries.
        ApiRefused: The API does not take it.
    """
    size_bytes = path.stat().st_size
    name = base64.b64encode(clean_name(path.name).encode()).decode()
    headers = {**TUS, "Upload-Length": str(size_bytes), "Upload-Metadata": f"filename {name}"}
    created = _patiently(lambda: api.send_bytes("POST", "/files", headers))
    place = f"/files/{created.json()['file_id']}"
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(printable(path.name), total=size_bytes)
        offset, fruitless = 0, 0
        while offset < size_bytes:
            before = offset
            offset = _send_part(api, place, path, before, is_last=fruitless == len(PAUSES_S))
            progress.update(bar, completed=offset)
            if offset > before:
                fruitless = 0
            else:
                time.sleep(PAUSES_S[fruitless])
                fruitless += 1
    return _patiently(lambda: api.get(place))


def _send_part(api: Api, place: str, path: Path, offset: int, *, is_last: bool) -> int:
    """Send the next part; where the upload is afterwards. If it was interrupted, the API is asked for that."""
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    try:
        answer = api.send_bytes("PATCH", place, headers, _part(path, offset))
    except (ApiUnreachable, ApiRefused) as error:
        if is_last or not _may_pass(error):
            raise
        answer = _patiently(lambda: api.send_bytes("HEAD", place, TUS))
    return int(answer.headers["upload-offset"])


def _patiently(ask: Callable[[], Answer]) -> Answer:
    """The answer; asked again for about 40 s if the API is away or busy."""
    for pause_s in PAUSES_S:
        try:
            return ask()
        except (ApiUnreachable, ApiRefused) as error:
            if not _may_pass(error):
                raise
        time.sleep(pause_s)
    return ask()


def _may_pass(error: ApiUnreachable | ApiRefused) -> bool:
    return isinstance(error, ApiUnreachable) or error.status in AGAIN


def _part(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        left = STEP_BYTES
        while left and (chunk := file.read(min(READ_BYTES, left))):
            left -= len(chunk)
            yield chunk
