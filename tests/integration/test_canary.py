"""A secret of an account is in no place where it could be read, whatever its publisher does with it."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import redis

import stores
from cli_support import Up, serving, until
from everpost.cli.uplock import find_up
from everpost.credentials.vault import new_key
from everpost.settings import Settings
from spilling_publisher import install
from store_kit import kit_of

IN_ENVIRONMENT = "c4n4ry/env+0123456789=&é"
IN_FILE = "c4n4ry-file-0123456789"
ROTATED = "c4n4ry-rotated-0123456789"
SECRETS = (IN_ENVIRONMENT, IN_FILE, ROTATED)
DEEDS = ("result", "long", "crash", "group", "unknown", "transient", "auth")


KINDS = ("sqlite+cell", "postgresql", "postgresql+cell")


def forms(secret: str) -> Iterator[bytes]:
    """The forms in which it is looked for."""
    for text in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1], secret[:12]):
        yield text.encode()
    for size in range(3):
        yield base64.b64encode(bytes(size) + secret.encode())[4:-4]


FORMS = [form for secret in SECRETS for form in forms(secret)]


def found_in(content: bytes) -> list[bytes]:
    return [form for form in FORMS if form in content]


@pytest.fixture(params=["sqlite", *(pytest.param(kind, marks=pytest.mark.chaos) for kind in KINDS)])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of store; with `+cell`, one task kills its worker, and so runs in a cell."""
    return str(request.param)


@pytest.fixture
def database(kind: str, tmp_path: Path) -> Iterator[str]:
    with stores.empty_store(kind.removesuffix("+cell"), tmp_path) as address:
        yield address


@pytest.fixture
def up(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    settings = install(tmp_path / "spilling")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "spilling"))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text(IN_FILE + "\n")
    settings |= {"ACCOUNT_ENV": IN_ENVIRONMENT, "ACCOUNT_ROTATED": ROTATED, "SECRETS": str(tmp_path / "secrets")}
    with serving(tmp_path, DATABASE=database, SECRET_KEY=new_key(), LOG_LEVEL="debug", **settings) as up:
        yield up


def test_no_place_has_the_canary(up: Up, kind: str, database: str, tmp_path: Path) -> None:
    answers: list[httpx.Response] = []

    def call(method: str, path: str, body: Any = None) -> Any:
        answer = httpx.request(method, f"{up.url}/api/v1{path}", json=body, timeout=40)
        answers.append(answer)
        return answer.json()

    credentials = {"env": "env:EVERPOST_ACCOUNT_ENV", "file": "file:token"}
    for platform in ("douyin", "kuaishou"):
        call("POST", "/accounts", {"platform": platform, "account_id": "a", "credentials": credentials})
    for secret in SECRETS:  # a person who mistakes the field
        refused = call("POST", "/accounts", {"platform": "douyin", "account_id": "b", "credentials": {"x": secret}})
        assert refused["code"] == "invalid_value"
    ids = {}
    for deed in (*(["cell"] if kind.endswith("+cell") else []), *DEEDS):
        platform = "kuaishou" if deed == "cell" else "douyin"
        posted = call("POST", "/publish", {"platform": platform, "account_id": "a", "do": deed})
        ids[deed] = posted["task_id"]
        if deed == "auth":
            break
        task = call("GET", f"/tasks/{ids[deed]}?wait=30")["data"]
        assert task["status"] in {"success", "failed", "unknown"}, task
        assert "***" in json.dumps(task), task
    assert call("GET", f"/tasks/{ids['result']}")["data"]["provider_post_id"] == "***"
    until(lambda: call("GET", "/accounts/douyin/a")["data"]["status"] == "held", "the hold")
    call("GET", f"/tasks/{ids['auth']}")
    call("POST", "/accounts/douyin/a/test")
    for path in ("/accounts", "/tasks?limit=1000", "/tasks/stats", "/tasks/health", "/tasks/logs/recent", "/platforms"):
        call("GET", path)
    for answer in answers:
        assert found_in(answer.content) == [], answer.url
    for arguments in (
        ("accounts", "list"), ("accounts", "show", "douyin", "a"), ("accounts", "test", "douyin", "a"),
        ("accounts", "list", "--json"), ("list",), ("show", ids["result"]), ("show", ids["unknown"]), ("doctor",),
    ):  # fmt: skip
        said = up.everpost(*arguments)
        assert found_in(f"{said.stdout}{said.stderr}".encode()) == [], arguments
    assert found_in(content_of_redis(tmp_path)) == []
    content = kit_of(Settings(database=database)).everything()
    assert b"EVERPOST_ACCOUNT_ENV" in content
    assert found_in(content) == []
    copy = tmp_path / "copy.db"
    if database.startswith("sqlite"):
        assert up.everpost("backup", str(copy)).returncode == 0
        assert found_in(copy.read_bytes()) == []
    assert up.stop() == 0
    log = up.log.read_bytes()
    assert found_in(log) == []
    assert log.count(b"spill.structured") >= len(DEEDS)
    assert b"publish.crashed" in log


def content_of_redis(folder: Path) -> bytes:
    """Every key and value of the embedded Valkey."""
    facts = find_up(folder / "data")
    assert facts is not None
    readers = {
        b"string": lambda client, key: client.get(key),
        b"hash": lambda client, key: client.hgetall(key),
        b"zset": lambda client, key: client.zrange(key, 0, -1),
        b"list": lambda client, key: client.lrange(key, 0, -1),
        b"set": lambda client, key: client.smembers(key),
        b"stream": lambda client, key: client.xrange(key),
        b"none": lambda client, key: client.get(key),  # it has expired meanwhile
    }
    with redis.Redis.from_url(facts.redis) as client:
        found = [(key, readers[client.type(key)](client, key)) for key in client.scan_iter(count=1_000)]
    content = b"".join(bytes(key) + repr(value).encode().replace(b"\\\\", b"\\") for key, value in found)
    assert b"everpost:workers" in content
    assert b"arq:result:" in content
    return content
