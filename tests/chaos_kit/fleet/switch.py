"""The network between the hosts: a program that passes their packets on, drops some, and delays some.

    python -m chaos_kit.fleet.switch CONTROL SEED NAMESPACES ADDRESS=DEVICE ...

CONTROL and the DEVICEs are numbers of open files: a socket, and the host's end of each TUN device. Each line from the
socket replaces all rules, and is answered with a line once they hold. When the socket is closed, every process that
still runs in the NAMESPACES, which are numbers of inodes, is killed: nothing outlives the program that made the hosts.
"""

import heapq
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

LARGEST = 65_536
IN_A_ROW = 64  # packets of one host, before another host has its turn
IPV4 = 0x45  # the first byte of a packet without options
ADDRESSES = slice(12, 20)  # of a packet: the sender's address and the receiver's
RECEIVER = slice(16, 20)


class Rule(msgspec.Struct, frozen=True):
    """What happens to packets from one host to another.

    Attributes:
        loss: The share that is dropped; 1 is a cut.
        delay_s: The delay of the others.
    """

    sender: str
    receiver: str
    loss: float = 0.0
    delay_s: float = 0.0


class Switch:
    """Passes packets on between devices."""

    def __init__(self, control: socket.socket, devices: Mapping[str, int], seed: str) -> None:
        self._control = control
        self._commands = control.makefile("rb")
        self._devices = {socket.inet_aton(address): device for address, device in devices.items()}
        self._rules: dict[bytes, Rule] = {}
        self._late: list[tuple[float, int, bytes]] = []  # when a packet is due, its number, and the packet
        self._count = 0
        self._chance = random.Random(seed)

    def run(self) -> None:
        """Pass packets on until the socket is closed."""
        poll = select.epoll()
        for number in (self._control.fileno(), *self._devices.values()):
            poll.register(number, select.EPOLLIN)
        while True:
            ready = [number for number, _ in poll.poll(self._next_due_s())]
            if self._control.fileno() in ready and not self._take_rules():
                return
            for device in ready:
                if device != self._control.fileno():
                    self._pass_on(device)
            self._deliver()

    def _next_due_s(self) -> float:
        return max(0.0, self._late[0][0] - time.monotonic()) if self._late else -1

    def _take_rules(self) -> bool:
        line = self._commands.readline()
        if not line:
            return False
        rules = msgspec.json.decode(line, type=list[Rule])
        self._rules = {socket.inet_aton(rule.sender) + socket.inet_aton(rule.receiver): rule for rule in rules}
        self._control.sendall(b"\n")
        return True

    def _pass_on(self, device: int) -> None:
        for _ in range(IN_A_ROW):
            try:
                packet = os.read(device, LARGEST)
            except BlockingIOError:
                return
            if packet[0] != IPV4:
                continue
            rule = self._rules.get(packet[ADDRESSES])
            if rule is None:
                self._send(packet)
            elif self._chance.random() >= rule.loss:
                self._count += 1
                heapq.heappush(self._late, (time.monotonic() + rule.delay_s, self._count, packet))

    def _deliver(self) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            self._send(heapq.heappop(self._late)[2])

    def _send(self, packet: bytes) -> None:
        device = self._devices.get(packet[RECEIVER])
        if device is not None:
            with suppress(OSError):  # a full device drops packets, as networks do
                os.write(device, packet)


def kill_all(namespaces: Sequence[int]) -> None:
    """Kill every process in these network namespaces, also those that are started meanwhile."""
    while found := [path for path in Path("/proc").glob("[0-9]*/ns/net") if _inode(path) in namespaces]:
        for path in found:
            with suppress(ProcessLookupError):
                os.kill(int(path.parts[2]), signal.SIGKILL)
        time.sleep(0.01)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:  # it has ended
        return None


def main() -> None:
    control, seed, namespaces, *places = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end of the socket says the same, and is acted upon
    devices = {address: int(device) for address, _, device in (place.partition("=") for place in places)}
    Switch(socket.socket(fileno=int(control)), devices, seed).run()
    kill_all([int(inode) for inode in namespaces.split(",")])


if __name__ == "__main__":
    main()
