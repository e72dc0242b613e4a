"""The network between hosts does what it is told, and nothing outlives the process that made it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest

from chaos_kit.fleet.hosts import KIT, Network
from cli_support import is_alive
from everpost.children import Child
from everpost.testing import eventually

pytestmark = pytest.mark.chaos

NAMES = ("here", "there", "elsewhere")
PORT = 7
ECHO = f"""
import socket
with socket.create_server(("0.0.0.0", {PORT})) as server:
    while True:
        connection, _ = server.accept()
        while data := connection.recv(99):
            connection.sendall(data)
"""
MAKER = """
import subprocess, sys, time
from chaos_kit.fleet.hosts import Network
network = Network(("here", "there"), seed=1)
child = subprocess.Popen([*network["there"].command, "sh", "-c", "echo $$; exec sleep 1000"])
time.sleep(1000)
"""


class Echo:
    """A connection from `here` to a host that answers with what it gets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self) -> None:
        self.writer.write(b"!")

    async def hears(self, within_s: float = 60) -> bool:
        try:
            async with asyncio.timeout(within_s):
                return await self._reader.read(1) == b"!"
        except TimeoutError:
            return False

    async def round_trip_s(self) -> float:
        began_s = time.monotonic()
        self.send()
        assert await self.hears()
        return time.monotonic() - began_s


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    network = Network(NAMES, seed=1)
    with network["here"].entered():
        yield network
    await network.close()


@pytest.fixture
async def echo(network: Network) -> AsyncIterator[Echo]:
    there = network["there"]
    server = Child([*there.command, sys.executable, "-c", ECHO])

    async def connected() -> Echo | None:
        try:
            return Echo(*await asyncio.open_connection(there.address, PORT))
        except ConnectionRefusedError:
            return None

    echo = await eventually(connected, what="a connection")
    assert echo is not None
    yield echo
    echo.writer.close()
    server.kill()


async def test_what_is_sent_through_a_cut_arrives_once_it_is_healed(network: Network, echo: Echo) -> None:
    network.cut("there", "elsewhere")
    assert await echo.round_trip_s() < 1
    network.cut("there", "here")
    echo.send()
    assert not await echo.hears(within_s=1)
    network.heal()
    assert await echo.hears()


async def test_a_cut_in_one_direction_lets_the_other_direction_through(network: Network, echo: Echo) -> None:
    network.harm("here", "there", loss=1, is_one_way=True)
    echo.send()
    assert not await echo.hears(within_s=1)
    network.heal()
    network.harm("there", "elsewhere", loss=1, is_one_way=True)
    assert await echo.hears()
    assert await echo.round_trip_s() < 1


async def test_a_delay_is_one_of_each_direction(network: Network, echo: Echo) -> None:
    network.harm("here", "there", delay_s=0.3)
    assert await echo.round_trip_s() >= 0.6


async def test_lost_packets_are_sent_again(network: Network, echo: Echo) -> None:
    network.harm("here", "there", loss=0.3)
    took_s = [await echo.round_trip_s() for _ in range(10)]
    assert max(took_s) >= 0.2  # TCP waits that long before it sends again


def make_hosts_and_die() -> int:
    """Make hosts in another process, freeze a process on one of them, and kill the maker; the frozen process's id."""
    environment = {**os.environ, "PYTHONPATH": str(KIT)}
    with subprocess.Popen([sys.executable, "-c", MAKER], env=environment, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        frozen = int(maker.stdout.readline())
        os.kill(frozen, signal.SIGSTOP)
        maker.kill()
    return frozen


async def test_nothing_outlives_the_process_that_made_the_hosts() -> None:
    frozen = make_hosts_and_die()

    async def is_gone() -> bool:
        return not is_alive(frozen)

    await eventually(is_gone, what="the end of what ran on the hosts")
