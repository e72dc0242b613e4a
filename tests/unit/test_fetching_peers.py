"""`make peers` says what is missing, and fails then."""

import importlib.util
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from everpost.demo.peers import peers_folder


@pytest.fixture
def fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = Path(__file__).parents[1] / "peers" / "fetch.py"
    spec = importlib.util.spec_from_file_location("fetching_peers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("PEERS", str(tmp_path))
    return module


def test_a_peer_that_this_machine_cannot_fetch_is_named_and_is_a_failure(
    fetching: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = tuple(msgspec.structs.replace(peer, commands=("no-such-program",)) for peer in fetching.PEERS)
    monkeypatch.setattr(fetching, "PEERS", peers)
    assert fetching.main([]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{peer.name}: MISSING: this machine has no no-such-program" for peer in peers
    ]


def test_a_command_that_fails_is_told_with_its_words(
    fetching: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(folder: Path) -> None:
        fetching.run("sh", "-c", "echo no network; false", folder=folder)

    peer = fetching.Peer("p", ("sh",), "p/there", fetch)
    monkeypatch.setattr(fetching, "PEERS", (peer,))
    assert fetching.main(["p"]) == 1
    assert "no network" in capsys.readouterr().out


def test_a_peer_that_is_there_is_not_fetched_again(
    fetching: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = fetching.Peer("p", ("no-such-program",), "p/there", lambda _: None)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "there").touch()
    monkeypatch.setattr(fetching, "PEERS", (peer,))
    assert fetching.main([]) == 0


def test_what_an_interrupted_run_left_is_fetched_anew(
    fetching: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(folder: Path) -> None:
        (folder / "half").mkdir()  # fails if the folder is not a new one
        fetching.run("sh", "-c", "test -e ../network", folder=folder)

    peer = fetching.Peer("p", ("sh",), "p/there", fetch)
    monkeypatch.setattr(fetching, "PEERS", (peer,))
    assert fetching.main([]) == 1
    assert not (tmp_path / "p" / "there").exists()
    (tmp_path / "network").touch()
    assert fetching.main([]) == 0
    assert (tmp_path / "p" / "there").exists()


def test_a_command_that_hangs_is_a_failure(
    fetching: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetching, "LONGEST_S", 0.1)
    peer = fetching.Peer("p", ("sh",), "p/there", lambda folder: fetching.run("sleep", "60", folder=folder))
    monkeypatch.setattr(fetching, "PEERS", (peer,))
    assert fetching.main([]) == 1
    assert "timed out" in capsys.readouterr().out


def test_the_peers_are_outside_the_repository_unless_it_is_said_otherwise() -> None:
    assert peers_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/everpost-peers")
    assert peers_folder({"PEERS": "/p"}) == Path("/p")
    assert peers_folder({}) == Path.home() / ".cache" / "everpost-peers"
