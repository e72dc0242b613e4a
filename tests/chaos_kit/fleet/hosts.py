"""Hosts on this machine: each is a network namespace with one device and one address, and a switch joins them.

The namespaces have no names. They end with the last process in them, and the switch ends those processes when the
process that made the hosts has ended, however that happened.
"""

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec

from chaos_kit.fleet.switch import Rule
from everpost.children import Child

KIT = Path(__file__).parents[2]  # `python -m chaos_kit.…` finds its modules here
CLONE_NEWNET = 0x40000000  # sched.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
DEVICE = "link0"
MTU = 9000  # larger packets cost the switch less
NETWORK = "10.77.0"
ANSWER_S = 10.0

Made = TypeVar("Made")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _enter(namespace: int) -> None:
    if _libc().setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace cannot be entered")


def find_obstacle() -> str | None:
    """Why hosts cannot be made here; None if they can."""
    for program in ("ip", "nsenter"):
        if shutil.which(program) is None:
            return f"there is no command `{program}` (iproute2, util-linux)"
    try:
        Host("trial", f"{NETWORK}.254").close()
    except OSError as error:
        return f"this user may not make network namespaces with TUN devices: {error.strerror} (root may)"
    return None


class Host:
    """A network namespace.

    Attributes:
        device: What its network device sends and receives, as a file.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        with ThreadPoolExecutor(1) as thread:  # only that thread changes to the namespace
            self._namespace, self.device = thread.submit(self._make).result()

    def _make(self) -> tuple[int, int]:
        if _libc().unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        for command in (
            "link set lo up",
            f"addr add {self.address}/24 dev {DEVICE}",
            f"link set {DEVICE} mtu {MTU} up",
        ):
            subprocess.run(["ip", *command.split()], check=True)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY), device

    @property
    def command(self) -> Sequence[str]:
        """Put before a command, it runs the command on this host."""
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self._namespace}", "--")

    @property
    def inode(self) -> int:
        """The number of the namespace."""
        return os.fstat(self._namespace).st_ino

    def run(self, function: Callable[[], Made]) -> Made:
        """Call the function on this host; it may connect, listen, and start processes."""
        with ThreadPoolExecutor(1, initializer=lambda: _enter(self._namespace)) as thread:
            return thread.submit(function).result()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread's connections come from this host for a while."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _enter(self._namespace)
        try:
            yield
        finally:
            _enter(own)
            os.close(own)

    def close(self) -> None:
        """Let it go; it ends with the last process on it."""
        os.close(self.device)
        os.close(self._namespace)


class Network:
    """Hosts, each of which reaches every other one, until it is told otherwise.

    Args:
        names: Of the hosts. This process is on the first one, once it has `entered` it; nothing is killed there.

    Attributes:
        hosts: By name.
    """

    def __init__(self, names: Sequence[str], *, seed: object) -> None:
        self.hosts = {name: Host(name, f"{NETWORK}.{number}") for number, name in enumerate(names, 1)}
        self._rules: dict[tuple[str, str], Rule] = {}
        ours, control = socket.socketpair()
        ours.settimeout(ANSWER_S)
        self._control = ours
        hosts = list(self.hosts.values())
        namespaces = ",".join(str(host.inode) for host in hosts[1:])
        self._switch = Child(
            [
                *(sys.executable, "-m", "chaos_kit.fleet.switch", str(control.fileno()), str(seed), namespaces),
                *(f"{host.address}={host.device}" for host in hosts),
            ],
            env={"PYTHONPATH": str(KIT)},
            pass_fds=[control.fileno(), *(host.device for host in hosts)],
        )
        control.close()
        self._tell()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def others(self, name: str) -> list[str]:
        """All hosts but one."""
        return [other for other in self.hosts if other != name]

    def harm(
        self, first: str, second: str, *, loss: float = 0.0, delay_s: float = 0.0, is_one_way: bool = False
    ) -> None:
        """Lose a share of the packets from `first` to `second`, and delay the others; the same back, unless told."""
        for sender, receiver in ((first, second), *(() if is_one_way else ((second, first),))):
            ends = self.hosts[sender].address, self.hosts[receiver].address
            self._rules[sender, receiver] = Rule(*ends, loss=loss, delay_s=delay_s)
        self._tell()

    def cut(self, first: str, *others: str) -> None:
        """Lose everything between a host and others; without any FIN or RST."""
        for other in others:
            self.harm(first, other, loss=1)

    def is_cut(self, first: str, second: str) -> bool:
        """Whether packets between two hosts are lost, at least in one direction."""
        ways = (first, second), (second, first)
        return any(way in self._rules and self._rules[way].loss == 1 for way in ways)

    def heal(self) -> None:
        """Lose and delay nothing any more."""
        self._rules.clear()
        self._tell()

    def _tell(self) -> None:
        self._control.sendall(msgspec.json.encode(list(self._rules.values())) + b"\n")
        assert self._control.recv(1), "the switch has ended"

    async def close(self) -> None:
        """End every process on the hosts, and the network."""
        self._control.close()
        await self._switch.wait()
        for host in self.hosts.values():
            host.close()
