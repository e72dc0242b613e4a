"""Uploads with `sau`, the command line of social-auto-upload: Douyin, Xiaohongshu, WeChat Channels, Kuaishou, Bilibili.

`python -m everpost_workers.uploaders.sau [--sau PROGRAM] [ARGUMENT...]` reads a task of the publisher `command`. Its
options and its exit codes (0, 1 for every failure, 2 for wrong arguments) are those of sau_cli.py in
https://github.com/dreammis/social-auto-upload, and of its docs/CLI.md.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from everpost_workers.uploaders.talk import Uploaded, fail, read_tags, read_task, require_text, run, write

NAMES = {
    "douyin": "douyin",
    "xiaohongshu": "xiaohongshu",
    "channels": "tencent",  # the owner of WeChat
    "kuaishou": "kuaishou",
    "bilibili": "bilibili",
}
"""What sau calls each platform of the catalogue."""

WRONG_ARGUMENTS = 2
COOKIE_GONE = "cookie is missing or expired"  # sau_cli.py, before it uploads anything
IMAGES = "image/"


def main(arguments: Sequence[str]) -> None:
    """Upload one task."""
    parser = argparse.ArgumentParser(prog="everpost_workers.uploaders.sau")
    parser.add_argument("--sau", default="sau", help="the program, if it is not on the path")
    parser.add_argument("--platform", choices=sorted(set(NAMES.values())), help="sau's name, if the catalogue differs")
    options, more = parser.parse_known_args(arguments)
    task = read_task()
    platform = options.platform or NAMES.get(task["platform"])
    if platform is None:
        fail("permanent", f"sau has no platform {task['platform']!r}; the argument --platform names one.")
    account = str(task["account"]["options"].get("sau_account", task["account"]["id"]))
    if not account:
        fail("invalid", "The task has no account_id.")
    check_cookie(options.sau, platform, account)
    if task["action"] == "check_account":
        write("result", detail={"said": f"The cookie of {account} is valid."})
        return
    argv = [options.sau, platform, *upload_arguments(platform, task), f"--account={account}", *more]
    write("status", phase="sending", words="sau is running.")
    report(run(argv), platform)


def check_cookie(sau: str, platform: str, account: str) -> None:
    """Ask before the upload: afterwards, a missing cookie cannot be told from another failure for certain."""
    write("status", phase="nothing_sent", words="The cookie is being checked.")
    checked = run([sau, platform, "check", f"--account={account}"])
    if checked.code == WRONG_ARGUMENTS:
        fail("permanent", f"sau does not know this command: {checked.last_line}")
    if checked.said("invalid"):
        fail("auth", f"The cookie of {account} is missing or expired: run `sau {platform} login --account {account}`.")
    if checked.code != 0:
        fail("transient", f"sau cannot check the cookie: {checked.last_line}")


def upload_arguments(platform: str, task: dict[str, Any]) -> list[str]:
    """The command and its options. Values are attached with `=`, so that none is taken for an option."""
    data, files = task["data"], task["files"]
    title, tags = require_text(data, "title"), read_tags(data)
    text = str(data.get("description") or "")
    if not files:
        fail("invalid", "The task has no file.")
    if all(file["content_type"].startswith(IMAGES) for file in files):
        if platform in {"bilibili", "tencent"}:
            fail("invalid", f"sau uploads only videos to {platform}.")
        images = [file["path"] for file in files]
        return ["upload-note", f"--title={title}", f"--note={text}", f"--tags={tags}", "--images", *images]
    if len(files) > 1:
        fail("invalid", "sau uploads one video at a time, or images only.")
    video = [f"--file={files[0]['path']}", f"--title={title}", f"--desc={text}", f"--tags={tags}"]
    return ["upload-video", *video, *category_arguments(platform, task)]


def category_arguments(platform: str, task: dict[str, Any]) -> list[str]:
    """Bilibili's category, from the task or else from the account; only Bilibili has one, and requires it."""
    if platform != "bilibili":
        return []
    tid = task["data"].get("tid", task["account"]["options"].get("tid"))
    if not isinstance(tid, int) or isinstance(tid, bool):
        fail("invalid", "Bilibili requires a category: `tid`, a number.")
    return [f"--tid={tid}"]


def report(uploaded: Uploaded, platform: str) -> None:
    """Report what sau's exit code means. It names no post: a success has neither an id nor an address."""
    if uploaded.code == 0:
        write("result", detail={"uploader": "sau", "platform": platform, "said": uploaded.last_line})
    elif uploaded.code == WRONG_ARGUMENTS:
        fail("invalid", f"sau refuses its arguments: {uploaded.last_line}")
    elif uploaded.said(COOKIE_GONE):
        fail("auth", uploaded.last_line)
    else:  # it ends with 1 for everything, before and after the post was made
        fail("unknown", f"sau ended with {uploaded.code}: {uploaded.last_line}")


if __name__ == "__main__":
    main(sys.argv[1:])
