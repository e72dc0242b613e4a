"""A stand-in for `sau` with its command line, as sau_cli.py and docs/CLI.md of dreammis/social-auto-upload define it.

It uploads nothing. It writes its arguments into the file STANDIN_LOG, and behaves as STANDIN_SAYS asks: the real one
ends with 0, with 1 and the error's text on standard error, or with argparse's 2.
"""

import argparse
import json
import os
import sys
from pathlib import Path

VIDEO_OPTIONS = {
    "douyin": ["--thumbnail-landscape", "--thumbnail-portrait", "--product-link", "--product-title", "--declaration"],
    "kuaishou": [],
    "xiaohongshu": [],
    "tencent": ["--thumbnail-landscape", "--thumbnail-portrait", "--short-title", "--category"],
    "bilibili": [],
}
TITLES = {
    "douyin": "Douyin",
    "kuaishou": "Kuaishou",
    "xiaohongshu": "Xiaohongshu",
    "tencent": "Tencent/WeChat Channels",
    "bilibili": "Bilibili",
}


def existing(value: str) -> str:
    if not Path(value).is_file():
        raise argparse.ArgumentTypeError(f"File not found: {value}")
    return value


def add_runtime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--headed", action="store_true")
    group.add_argument("--headless", action="store_true")


def build() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sau", allow_abbrev=True)
    platforms = parser.add_subparsers(dest="platform", required=True)
    for name, more in VIDEO_OPTIONS.items():
        actions = platforms.add_parser(name).add_subparsers(dest="action", required=True)
        actions.add_parser("check").add_argument("--account", required=True)
        video = actions.add_parser("upload-video")
        video.add_argument("--account", required=True)
        video.add_argument("--file", required=True, type=existing)
        video.add_argument("--title", required=True)
        video.add_argument("--desc", default="", required=name == "bilibili")
        video.add_argument("--tags", default="")
        video.add_argument("--schedule")
        video.add_argument("--thumbnail", type=existing)
        for option in more:
            video.add_argument(option)
        if name == "bilibili":
            video.add_argument("--tid", required=True, type=int)
            continue
        add_runtime(video)
        if name == "tencent":
            video.add_argument("--draft", action="store_true")
            continue
        note = actions.add_parser("upload-note")
        note.add_argument("--account", required=True)
        note.add_argument("--images", required=True, nargs="+", type=existing)
        note.add_argument("--title", required=True)
        note.add_argument("--note", default="")
        note.add_argument("--tags", default="")
        note.add_argument("--schedule")
        add_runtime(note)
    return parser


def main() -> int:
    arguments = vars(build().parse_args())
    says = os.environ.get("STANDIN_SAYS", "")
    with Path(os.environ["STANDIN_LOG"]).open("a", encoding="utf-8") as log:
        log.write(json.dumps(arguments) + "\n")
    if arguments["action"] == "check":
        sys.stdout.write("invalid\n" if says == "no cookie" else "valid\n")
        return 1 if says in {"no cookie", "no browser"} else 0
    if says:
        sys.stderr.write(f"{says}\n")
        return 1
    what = "note upload submitted: 2 images" if arguments["action"] == "upload-note" else "video upload submitted"
    sys.stdout.write(f"{TITLES[arguments['platform']]} {what}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
