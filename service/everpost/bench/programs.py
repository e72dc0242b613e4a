"""Programs of the bench's own, each in a process of its own: one message in, one message out."""

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
        ProgramFailed: It ended with another exit code than 0; what it said is in the message.
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
    """What such a program was asked."""
    return msgspec.msgpack.decode(sys.stdin.buffer.read(), type=question)


def write_answer(answer: object) -> None:
    """Answer what it was asked."""
    left = memoryview(msgspec.msgpack.encode(answer))
    while left:  # with PYTHONUNBUFFERED, which images set, a write takes what the pipe does, and says how much
        left = left[sys.stdout.buffer.write(left) :]
