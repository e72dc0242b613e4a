"""Helper programs of the bench, each in its own process: one message in, one message out."""

import asyncio
import sys
from typing import TypeVar

import msgspec

from everpost.errors import ServiceError

Answer = TypeVar("Answer")


class ProgramFailed(ServiceError):
    """A program ended without an answer."""

    code = "program_failed"

    def __init__(self, program: str, said: str) -> None:
        super().__init__(f"{program} failed: {said}")


async def run_program(program: str, question: object, answer: type[Answer]) -> Answer:
    """Run a module, or a file whose name ends in `.py`.

    `question` goes to its standard input in msgpack, and the answer comes from its output.

    Raises:
        ProgramFailed: Its exit code is not 0; the message has its output.
    """
    argv = [program] if program.endswith(".py") else ["-P", "-m", program]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *argv, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        output, said = await process.communicate(msgspec.msgpack.encode(question))
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode != 0:
        raise ProgramFailed(program, said[-2000:].decode(errors="replace"))
    return msgspec.msgpack.decode(output, type=answer)


def read_question(question: type[Answer]) -> Answer:
    """The question this program was started with."""
    return msgspec.msgpack.decode(sys.stdin.buffer.read(), type=question)


def write_answer(answer: object) -> None:
    """Write the answer."""
    left = memoryview(msgspec.msgpack.encode(answer))
    while left:  # with PYTHONUNBUFFERED, which images set, a write may be partial and returns its length
        left = left[sys.stdout.buffer.write(left) :]
