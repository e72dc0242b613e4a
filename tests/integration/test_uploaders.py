"""The recipes of docs/platforms/command.md for sau and biliup, with stand-ins that have their command lines."""

import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_kit import SETTINGS, job_of, media_of
from everpost.platforms import Catalogue
from everpost.publishing import (
    AuthError,
    InvalidError,
    OutcomeUnknownError,
    PermanentError,
    PublishError,
    PublishResult,
    TransientError,
)
from everpost.testing import AccountDouble
from everpost_workers.publishers.command.publisher import CommandPublisher

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "platforms" / "command.md").read_text("utf-8")
PLATFORMS = {
    "douyin": "douyin",
    "xiaohongshu": "xiaohongshu",
    "channels": "tencent",
    "kuaishou": "kuaishou",
    "bilibili": "bilibili",
}
Publish = Callable[..., Any]


def recipe(heading: str, platform: str) -> dict[str, Any]:
    """The options of a platform in the document's recipe."""
    section = DOCUMENT.partition(f"## {heading}\n")[2]
    found = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
    assert found is not None
    options: dict[str, Any] = tomllib.loads(found[1])["platforms"][platform]["options"]
    return options


def with_standin(options: dict[str, Any], name: str, folder: Path, **environment: str) -> dict[str, Any]:
    """The same options, with the stand-in as the program on the path."""
    program = folder / name
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {ROOT}/tests/standins/{name}.py "$@"\n')
    program.chmod(0o700)
    command = [sys.executable if part.endswith("python") else part for part in options["command"]]
    command = [str(program) if part.endswith(f"/{name}") else part for part in command]
    path = {"PATH": f"{folder}:/usr/bin:/bin", "STANDIN_LOG": str(folder / "log")}
    return {**options, "command": command, "environment": {**path, **environment}}


def calls(folder: Path) -> list[dict[str, Any]]:
    """The command lines the stand-in got, without what was not given."""
    lines = [json.loads(line) for line in (folder / "log").read_text("utf-8").splitlines()]
    return [{name: value for name, value in line.items() if value and value is not True} for line in lines]


async def publish_with_sau(
    folder: Path,
    platform: str,
    data: dict[str, Any],
    *names: str,
    says: str = "",
    options: dict[str, Any] | None = None,
) -> PublishResult:
    chosen = with_standin(recipe("sau", platform), "sau", folder, STANDIN_SAYS=says)
    kind = "image/png" if names[0].endswith("png") else "video/mp4"
    files = tuple(media_of(folder, name, content_type=kind) for name in names)
    job = job_of(
        data, files=files, platform=Catalogue.read().find(platform), account=AccountDouble("main", {}, options or {})
    )
    return await CommandPublisher(chosen, SETTINGS).publish(job)


def slow(*case: Any) -> Any:
    """A case for `make chaos` only: each starts six processes."""
    return pytest.param(*case, marks=pytest.mark.chaos)


@pytest.mark.parametrize("platform", ["douyin", "bilibili", *map(slow, ("xiaohongshu", "channels", "kuaishou"))])
async def test_sau_uploads_a_video_to_each_platform(tmp_path: Path, platform: str) -> None:
    data = {"title": "--标题", "description": "-d", "tags": ["#a", "b"], "tid": 249}
    result = await publish_with_sau(tmp_path, platform, data, "clip.mp4")
    check, upload = calls(tmp_path)
    assert check == {"platform": PLATFORMS[platform], "action": "check", "account": "main"}
    assert upload.pop("file").endswith("/file-1.mp4")
    expected = {"platform": PLATFORMS[platform], "action": "upload-video", "account": "main"}
    expected |= {"title": "--标题", "desc": "-d", "tags": "a,b"}
    assert upload == {**expected, **({"tid": 249} if platform == "bilibili" else {})}
    assert result.detail["said"].endswith("video upload submitted")


@pytest.mark.parametrize("platform", ["xiaohongshu", slow("douyin"), slow("kuaishou")])
async def test_sau_uploads_images_as_a_note(tmp_path: Path, platform: str) -> None:
    await publish_with_sau(tmp_path, platform, {"title": "t", "description": "text"}, "1.png", "2.png")
    upload = calls(tmp_path)[1]
    assert [Path(path).name for path in upload["images"]] == ["file-1.png", "file-2.png"]
    assert (upload["action"], upload["title"], upload["note"]) == ("upload-note", "t", "text")


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("no cookie", AuthError),
        slow("no browser", TransientError),
        slow("Douyin cookie is missing or expired: x. Run `sau douyin login` first.", AuthError),
        ("Timeout 30000ms exceeded", OutcomeUnknownError),
    ],
)
async def test_what_sau_says_has_an_error_class(tmp_path: Path, says: str, expected: type[PublishError]) -> None:
    with pytest.raises(expected) as caught:
        await publish_with_sau(tmp_path, "douyin", {"title": "t"}, "clip.mp4", says=says)
    assert type(caught.value) is expected
    assert len(calls(tmp_path)) == (1 if says.startswith("no ") else 2)


@pytest.mark.parametrize(
    ("platform", "data", "names", "message"),
    [
        ("douyin", {"title": ""}, ["clip.mp4"], "no title"),
        slow("douyin", {"title": "t", "tags": ["a,b"]}, ["clip.mp4"], "comma"),
        slow("douyin", {"title": "t"}, ["1.mp4", "2.mp4"], "one video at a time"),
        slow("channels", {"title": "t"}, ["1.png"], "only videos"),
        ("bilibili", {"title": "t"}, ["1.mp4"], "requires a category"),
    ],
)
async def test_a_task_that_sau_cannot_upload_is_refused(
    tmp_path: Path, platform: str, data: dict[str, Any], names: list[str], message: str
) -> None:
    with pytest.raises(InvalidError, match=message):
        await publish_with_sau(tmp_path, platform, data, *names)


@pytest.mark.chaos
async def test_the_account_may_have_another_name_for_sau(tmp_path: Path) -> None:
    await publish_with_sau(tmp_path, "douyin", {"title": "t"}, "clip.mp4", options={"sau_account": "creator"})
    assert {call["account"] for call in calls(tmp_path)} == {"creator"}


@pytest.mark.parametrize("says", ["", "no cookie"])
async def test_sau_checks_an_account(tmp_path: Path, says: str) -> None:
    options = recipe("sau", "douyin")
    found = re.search(r"^check = (\[.*\])$", DOCUMENT, re.MULTILINE)
    assert found is not None
    with_check = with_standin({"command": json.loads(found[1])}, "sau", tmp_path, STANDIN_SAYS=says)
    publisher = CommandPublisher(
        {**with_standin(options, "sau", tmp_path, STANDIN_SAYS=says), "check": with_check["command"]}, SETTINGS
    )
    account = AccountDouble("creator")
    if says:
        with pytest.raises(AuthError, match="sau douyin login --account creator"):
            await publisher.check_account(account)
    else:
        assert await publisher.check_account(account) == "The cookie of creator is valid."
    assert calls(tmp_path) == [{"platform": "douyin", "action": "check", "account": "creator"}]


async def publish_with_biliup(folder: Path, *names: str, **environment: str) -> PublishResult:
    options = with_standin(recipe("biliup", "bilibili"), "biliup", folder, **environment)
    files = tuple(media_of(folder, name) for name in names)
    data = {"title": "-t", "description": "d", "tags": "a,b", "source": "https://example.org"}
    account = AccountDouble("main", {"cookies": '{"token_info":"c4nary"}'}, {"tid": 21})
    job = job_of(data, files=files, platform=Catalogue.read().find("bilibili"), account=account)
    return await CommandPublisher(options, SETTINGS).publish(job)


async def test_biliup_uploads_with_the_accounts_login_and_its_post_is_named(tmp_path: Path) -> None:
    answer = 'ResponseData { code: 0, data: Some(Object {"aid": Number(1), "bvid": String("BV1xx411c7mD")}) }'
    result = await publish_with_biliup(tmp_path, "1.mp4", "2.mp4", STANDIN_SAYS=answer)
    assert result.provider_post_id == "BV1xx411c7mD"
    assert result.publish_url == "https://www.bilibili.com/video/BV1xx411c7mD"
    (call,) = calls(tmp_path)
    assert call["login"] == '{"token_info":"c4nary"}'
    assert not os.path.lexists(call.pop("user_cookie")), "the login file is removed with the folder"  # noqa: ASYNC240
    assert [Path(path).name for path in call["video_path"]] == ["file-1.mp4", "file-2.mp4"]
    chosen = {name: call[name] for name in ("title", "desc", "tag", "tid", "copyright", "source")}
    assert chosen == {
        "title": "-t",
        "desc": "d",
        "tag": "a,b",
        "tid": 21,
        "copyright": 2,
        "source": "https://example.org",
    }


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"STANDIN_SAYS": 'ResponseData { code: -101, data: None, message: "账号未登录" }'}, AuthError),
        slow({"STANDIN_SAYS": "ResponseData { code: 21012, data: None }"}, PermanentError),
        slow({"STANDIN_FILES": "1"}, TransientError),
        ({}, OutcomeUnknownError),
    ],
)
async def test_what_biliup_says_has_an_error_class(
    tmp_path: Path, environment: dict[str, str], expected: type[PublishError]
) -> None:
    with pytest.raises(expected) as caught:
        await publish_with_biliup(tmp_path, "1.mp4", "2.mp4", **environment)
    assert type(caught.value) is expected
