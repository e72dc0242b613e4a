"""How a cell, the worker's program started again, gets the socket to its worker."""

import os
import socket

VARIABLE = "_EVERPOST_CELL"  # holds the number of the socket; not a setting, so it has another prefix


def take_socket() -> socket.socket | None:
    """The socket to the worker if this is a cell, else None. Works once: a publisher's children are not cells."""
    number = os.environ.pop(VARIABLE, None)
    if number is None:
        return None
    os.set_inheritable(int(number), False)  # noqa: FBT003 - the parameter has no name
    return socket.socket(fileno=int(number))
