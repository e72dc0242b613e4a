"""The console's own files: its style, its script and its picture, under addresses that change with their content."""

from functools import cache
from hashlib import sha256
from pathlib import Path

from litestar.exceptions import NotFoundException

from everpost.api.http.json_answer import JsonAnswer
from everpost.api.services import ApiRequest

FOLDER = Path(__file__).with_name("static")
TYPES = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "tasks.css": "text/css; charset=utf-8",
    "tasks.js": "text/javascript; charset=utf-8",
    "everpost.svg": "image/svg+xml",
}
FOR_EVER = "public, max-age=31536000, immutable"


@cache
def address_of(name: str) -> str:
    """The address of a file below the root."""
    return f"static/{sha256(_read(name)).hexdigest()[:12]}/{name}"


async def show_file(request: ApiRequest) -> JsonAnswer:
    """Answer with a file. An address of an older version gets the present content, which is not kept."""
    digest, name = request.path_params["digest"], request.path_params["name"]
    if name not in TYPES:
        raise NotFoundException
    is_current = address_of(name) == f"static/{digest}/{name}"
    headers = {
        "cache-control": FOR_EVER if is_current else "no-cache",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'",
    }
    return JsonAnswer(_read(name), media_type=TYPES[name], headers=headers)


@cache
def _read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
