"""Uploads to Bilibili with `biliup`.

`python -m everpost_workers.uploaders.biliup [--biliup PROGRAM] [--user-cookie FILE] [ARGUMENT...]` reads a task of the
publisher `command`. biliup's command line, and what it logs, are those of crates/biliup-cli/src/cli.rs and uploader.rs
in https://github.com/biliup/biliup-rs, and of its README: the login file comes before the command, each file ends with
the line "Upload completed", and the post is made by one request after the last file.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from everpost_workers.uploaders.talk import Uploaded, fail, read_tags, read_task, require_text, run, write

COOKIES = "cookies"  # the credential with the content of biliup's login file
WRONG_ARGUMENTS = 2
COMPLETED = "Upload completed"
ANSWER = "ResponseData"  # begins what biliup logs of Bilibili's answer
NOT_LOGGED_IN = "code: -101"
BVID = re.compile(r"\bBV[0-9A-Za-z]{10}\b")
VIDEO = "https://www.bilibili.com/video/"
COPIED = 2  # Bilibili's `copyright` of a video that was made by others


def main(arguments: Sequence[str]) -> None:
    """Upload one task."""
    parser = argparse.ArgumentParser(prog="everpost_workers.uploaders.biliup")
    parser.add_argument("--biliup", default="biliup", help="the program, if it is not on the path")
    parser.add_argument("--user-cookie", help="biliup's login file, if the account has no credential `cookies`")
    options, more = parser.parse_known_args(arguments)
    task = read_task()
    login = find_login(task, options.user_cookie)
    argv = [options.biliup, "--user-cookie", str(login), "upload", *more, *upload_arguments(task)]
    write("status", phase="nothing_sent", words="biliup uploads the files.")
    report(run(argv), len(task["files"]))


def find_login(task: dict[str, Any], given: str | None) -> Path:
    """The login file: the operator's, or one with the account's credential, which the own folder keeps private."""
    content = os.environ.get(f"CREDENTIAL_{COOKIES.upper()}")
    if task["credentials_file"] is not None:
        content = json.loads(Path(task["credentials_file"]).read_text("utf-8")).get(COOKIES)
    if content is not None:
        path = Path(task["folder"], "cookies.json")
        path.touch(0o600)
        path.write_text(content, "utf-8")
        return path
    if given is None:
        fail("auth", f"The account has no credential {COOKIES!r}, and --user-cookie names no login file.")
    return Path(given)


def upload_arguments(task: dict[str, Any]) -> list[str]:
    """The options and files of `biliup upload`. Values are attached with `=`, so that none is taken for an option."""
    data, files = task["data"], task["files"]
    if not files:
        fail("invalid", "The task has no file.")
    arguments = [f"--title={require_text(data, 'title')}", f"--tag={read_tags(data)}"]
    if not read_tags(data):
        fail("invalid", "Bilibili requires a tag.")
    arguments.append(f"--desc={data.get('description') or ''}")
    tid = data.get("tid", task["account"]["options"].get("tid"))
    if tid is not None:
        if not isinstance(tid, int) or isinstance(tid, bool):
            fail("invalid", "tid must be a number: Bilibili's category.")
        arguments.append(f"--tid={tid}")
    if data.get("source"):
        arguments += [f"--copyright={COPIED}", f"--source={data['source']}"]
    return [*arguments, "--", *(file["path"] for file in files)]


def report(uploaded: Uploaded, files: int) -> None:
    """Report what biliup's exit code and lines mean."""
    answer = next((line for line in reversed(uploaded.lines) if ANSWER in line), "")
    if uploaded.code == 0:
        found = BVID.search(answer)
        bvid = found.group() if found else None
        write("result", provider_post_id=bvid, publish_url=bvid and f"{VIDEO}{bvid}", detail={"uploader": "biliup"})
    elif uploaded.code == WRONG_ARGUMENTS:
        fail("invalid", f"biliup refuses its arguments: {uploaded.last_line}")
    elif answer:
        fail("auth" if NOT_LOGGED_IN in answer else "permanent", f"Bilibili refuses the post: {answer[-400:]}")
    elif sum(COMPLETED in line for line in uploaded.lines) < files:
        fail("transient", f"biliup ended with {uploaded.code} before all files were uploaded: {uploaded.last_line}")
    else:
        fail("unknown", f"biliup ended with {uploaded.code} while it made the post: {uploaded.last_line}")


if __name__ == "__main__":
    main(sys.argv[1:])
