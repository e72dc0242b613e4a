"""Where real platform servers are, once `make peers` has fetched them."""

from collections.abc import Mapping
from pathlib import Path

VARIABLE = "PEERS"
PDS_FOLDER = "pds"


def peers_folder(environ: Mapping[str, str]) -> Path:
    """The folder of the peers: the variable PEERS, or `everpost-peers` among the user's caches."""
    if given := environ.get(VARIABLE):
        return Path(given).absolute()
    cache = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "everpost-peers"
