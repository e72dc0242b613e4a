"""A stand-in for `biliup` with its command line, as cli.rs, uploader.rs and bilibili.rs of biliup/biliup-rs define it.

It uploads nothing. It writes its arguments and its login file into the file STANDIN_LOG. STANDIN_SAYS is Bilibili's
answer as biliup logs it; without one, biliup fails before it asks, after as many files as STANDIN_FILES says.
"""

import argparse
import json
import os
import sys
from pathlib import Path


def build() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="biliup")
    parser.add_argument("-u", "--user-cookie", default="cookies.json")
    commands = parser.add_subparsers(dest="command", required=True)
    upload = commands.add_parser("upload")
    upload.add_argument("video_path", nargs="*")
    upload.add_argument("--submit", default="client", choices=["client", "app", "web"])
    upload.add_argument("-l", "--line", choices=["bda2", "ws", "qn", "bldsa", "tx", "txa", "bda", "alia"])
    upload.add_argument("--limit", default=3, type=int)
    upload.add_argument("--copyright", default=1, type=int)
    upload.add_argument("--tid", default=171, type=int)
    for name in ("source", "cover", "title", "desc", "dynamic", "tag"):
        upload.add_argument(f"--{name}", default="")
    return parser


def main() -> int:
    arguments = vars(build().parse_args())
    arguments["login"] = Path(arguments["user_cookie"]).read_text("utf-8")
    with Path(os.environ["STANDIN_LOG"]).open("a", encoding="utf-8") as log:
        log.write(json.dumps(arguments) + "\n")
    uploaded = int(os.environ.get("STANDIN_FILES", len(arguments["video_path"])))
    for path in arguments["video_path"][:uploaded]:
        sys.stdout.write(f" INFO biliup_cli::uploader: Upload completed: {path} => cost 1.00s, 0.01 MB/s.\n")
    answer = os.environ.get("STANDIN_SAYS")
    if answer is None:
        sys.stderr.write("Error: error sending request\n")
        return 1
    sys.stdout.write(f" INFO biliup::uploader::bilibili: {answer}\n")
    if "code: 0," in answer:
        return 0
    sys.stderr.write(f"Error: {answer}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
