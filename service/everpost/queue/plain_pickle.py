"""Reads only plain values from pickles: pickle is arq's default serializer, and loading a pickle can run code.

`pickletools` splits the opcodes, and this reader knows only those below. It imports and calls nothing that the pickle
names: GLOBAL, REDUCE, BUILD, INST, NEWOBJ, EXT, PERSID and similar opcodes are refused.
"""

from collections.abc import Callable
from typing import Any

MOST_STEPS = 20_000  # opcodes, and values after shared ones are written out: up to 0.1 s of work
MOST_DEPTH = 72  # the deepest JSON, and the message's levels around it
MOST_BITS = 1_024  # of an int
SHARED_FACTOR = 4  # after shared strings are written out, text may be this many times longer than the pickle,
SHARED_BYTES = 1 << 20  # or have this many bytes
LONGEST_KEY_BITS = 64  # longer ints as keys could be made to collide, which takes quadratic time
LONGEST_NAME = 64  # characters of a global's name in an error
REFUSED = {
    "GLOBAL": "names the global {arg}",
    "STACK_GLOBAL": "names the global {last}",
    "INST": "names the global {arg}",
    "PERSID": "has a persistent id",
    "BINPERSID": "has a persistent id",
}

_Mark = object()


class PickleRefusedError(ValueError):
    """The bytes are not a pickle, or contain more than plain values."""


class _Machine:
    """The pickle machine's stack and memo, without the parts that make objects of classes.

    Each method is one opcode, or several that do the same.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise PickleRefusedError(f"it holds an int of {value.bit_length()} bits")
        self.stack.append(value)

    def pop_to_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _Mark:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise PickleRefusedError("it has no mark")

    def pop(self, count: int) -> list[Any]:
        items = self.stack[len(self.stack) - count :] if count else []
        if len(items) < count or any(item is _Mark for item in items):
            raise PickleRefusedError("its stack is too short")
        del self.stack[len(self.stack) - count :]
        return items

    def put(self, number: int) -> None:
        if not self.stack or self.stack[-1] is _Mark:
            raise PickleRefusedError("it has nothing to remember")
        self._memo[number] = self.stack[-1]

    def memoize(self) -> None:
        self.put(len(self._memo))

    def get(self, number: int) -> None:
        if number not in self._memo:
            raise PickleRefusedError(f"it remembers no value {number}")
        self.stack.append(self._memo[number])

    def top(self, kind: type[Any]) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise PickleRefusedError(f"it fills a {kind.__name__} that is not one")
        return self.stack[-1]

    def extend_list(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def fill_dict(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise PickleRefusedError("it has a key without a value")
        self.top(dict).update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def fill_set(self, items: list[Any]) -> None:
        self.top(set).update(map(_key, items))

    def make_dict(self) -> None:
        items = self.pop_to_mark()
        self.stack.append({})
        self.fill_dict(items)


def _key(value: Any) -> Any:
    """The value, if it may be a key or a member of a set. Hashing a container could take long, or never end."""
    if isinstance(value, str | bytes | float | None) or (
        isinstance(value, int) and value.bit_length() <= LONGEST_KEY_BITS
    ):
        return value
    raise PickleRefusedError(f"it has a {type(value).__name__} as a key or member of a set")


_Step = Callable[[_Machine, Any], object]


def _push_argument(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


_VALUES = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8"
)
_STEPS: dict[str, _Step] = {
    **dict.fromkeys(_VALUES.split(), _push_argument),
    "PROTO": lambda _, __: None,
    "FRAME": lambda _, __: None,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(value=True),
    "NEWFALSE": lambda machine, _: machine.push(value=False),
    "MARK": lambda machine, _: machine.stack.append(_Mark),
    "PUT": lambda machine, number: machine.put(number),
    "BINPUT": lambda machine, number: machine.put(number),
    "LONG_BINPUT": lambda machine, number: machine.put(number),
    "MEMOIZE": lambda machine, _: machine.memoize(),
    "GET": lambda machine, number: machine.get(number),
    "BINGET": lambda machine, number: machine.get(number),
    "LONG_BINGET": lambda machine, number: machine.get(number),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop(3))),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.pop_to_mark()),
    "APPEND": lambda machine, _: machine.extend_list(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.extend_list(machine.pop_to_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": lambda machine, _: machine.make_dict(),
    "SETITEM": lambda machine, _: machine.fill_dict(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.fill_dict(machine.pop_to_mark()),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "ADDITEMS": lambda machine, _: machine.fill_set(machine.pop_to_mark()),
    "FROZENSET": lambda machine, _: machine.push(frozenset(map(_key, machine.pop_to_mark()))),
}


def read_plain_pickle(payload: bytes) -> Any:
    """The value of a pickle of protocol 0 to 5 that contains only plain values and containers.

    These are None, bool, int, float, str, bytes, list, tuple, dict, set and frozenset. Below protocol 3, pickle writes
    bytes as calls of a global, and below protocol 4, sets; so these are refused too.

    Raises:
        PickleRefusedError: It is not a pickle, contains something else, is nested more than `MOST_DEPTH` deep or in
            itself, or takes more than `MOST_STEPS` steps.
    """
    try:
        value = _run(payload)
        _check_size(value, max(SHARED_BYTES, SHARED_FACTOR * len(payload)))
    except PickleRefusedError as error:
        raise PickleRefusedError(f"the pickle cannot be read: {error}") from None
    except Exception as error:  # foreign bytes may raise anything in pickletools
        raise PickleRefusedError(f"the bytes are not a pickle: {error}") from error
    return value


def _run(payload: bytes) -> Any:
    import pickletools  # noqa: PLC0415 - only needed if stock clients write pickles

    machine = _Machine()
    for number, (opcode, argument, _) in enumerate(pickletools.genops(payload)):
        if number >= MOST_STEPS:
            raise PickleRefusedError(f"it takes more than {MOST_STEPS:,} steps")
        if opcode.name == "STOP":
            break
        step = _STEPS.get(opcode.name)
        if step is None:
            raise PickleRefusedError(f"it {_why_refused(opcode.name, argument, machine.stack)}")
        step(machine, argument)
    (value,) = machine.pop(len(machine.stack))
    return value


def _why_refused(name: str, argument: Any, stack: list[Any]) -> str:
    last = ".".join(str(part)[:LONGEST_NAME] for part in stack[-2:])
    told = REFUSED.get(name, "uses the opcode {name}")
    return told.format(name=name, arg=str(argument)[:LONGEST_NAME], last=last) + ", and only plain values are read"


def _check_size(value: Any, text_left: int) -> None:
    """Refuse values that become large once shared values are written out, or that contain themselves."""
    steps_left = MOST_STEPS
    level = [value]
    for _ in range(MOST_DEPTH):
        steps_left -= len(level)
        text_left -= sum(len(one) for one in level if isinstance(one, str | bytes))
        if steps_left < 0 or text_left < 0:
            raise PickleRefusedError("it grows too large once shared values are written out")
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one
                inner += one.values()
            elif isinstance(one, list | tuple | set | frozenset):
                inner += one
            if len(inner) > steps_left:
                raise PickleRefusedError("it grows too large once shared values are written out")
        if not inner:
            return
        level = inner
    raise PickleRefusedError(f"it is nested more than {MOST_DEPTH} deep")
