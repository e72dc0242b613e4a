"""Tasks sent one after the other on an idle stack: the time until the answer, and until the record is on the disk.

`python -m everpost.bench.one_by_one` reads one `OneByOneSpec` and writes one `OneByOneReport`, both in msgpack.
"""

import socket
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice

import msgspec

from everpost.bench.answers import is_whole
from everpost.bench.programs import read_question, run_program, write_answer
from everpost.store import measured_store

LOOK_EVERY_S = 0.00005
PATIENCE_S = 10.0
RECEIVE_BYTES = 65_536
ID_DIGITS = 32


class OneByOneSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and where its record appears.

    Attributes:
        requests: Sent one after the other; after the last one, from the beginning again.
        expect: Bytes that every answer contains.
        id_after: The text after which an id of `id_digits` digits begins.
        database: The address of the store.
    """

    address: tuple[str, int]
    requests: Sequence[bytes]
    count: int
    database: str
    expect: Sequence[bytes] = (b"HTTP/1.1 202",)
    id_after: bytes = b'"task_id":"'
    id_digits: int = ID_DIGITS


class OneByOneReport(msgspec.Struct, frozen=True, kw_only=True):
    """The times of each task in seconds: request to answer, and answer to record."""

    ids: Sequence[str]
    answered_s: Sequence[float]
    recorded_s: Sequence[float]


async def run_one_by_one(spec: OneByOneSpec, program: str = "everpost.bench.one_by_one") -> OneByOneReport:
    """Send the requests from a separate process.

    Args:
        program: As for `run_program`; it knows how to see what its store has recorded.

    Raises:
        ProgramFailed: That process failed, an answer was wrong, or a task was not recorded in time.
    """
    return await run_program(program, spec, OneByOneReport)


def send_one_by_one(spec: OneByOneSpec, is_recorded: Callable[[str], bool]) -> OneByOneReport:
    """Send the requests from this process, while it does nothing else.

    Args:
        is_recorded: Whether the store has recorded the end of a task.
    """
    ids: list[str] = []
    answered_s: list[float] = []
    recorded_s: list[float] = []
    with socket.create_connection(spec.address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in islice(cycle(spec.requests), spec.count):
            sent_s = time.monotonic()
            connection.sendall(request)
            answer = _receive(connection)
            got_s = time.monotonic()
            if not all(part in answer for part in spec.expect):
                raise ValueError(f"an answer was {answer[:300]!r}")
            start = answer.find(spec.id_after) + len(spec.id_after)
            task_id = answer[start : start + spec.id_digits].decode()
            _wait_for_record(is_recorded, task_id)
            ids.append(task_id)
            answered_s.append(got_s - sent_s)
            recorded_s.append(time.monotonic() - got_s)
    return OneByOneReport(ids=ids, answered_s=answered_s, recorded_s=recorded_s)


def _receive(connection: socket.socket) -> bytes:
    answer = b""
    while not is_whole(answer):
        answer += connection.recv(RECEIVE_BYTES)
    return answer


def _wait_for_record(is_recorded: Callable[[str], bool], task_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_recorded(task_id):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{task_id} was not recorded within {PATIENCE_S:g} s")
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    question = read_question(OneByOneSpec)
    with measured_store(question.database).look() as look:
        write_answer(send_one_by_one(question, look.is_recorded))
