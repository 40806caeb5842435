"""Pickles read as data: a stack machine that can only build numbers, text and lists of them.

`pickle.load` runs whatever a file tells it to. Here a name such as `os.system` is only a name, and
a call of it only a note that says what would have been called with what (`Made`). Nothing is ever
imported or called. Opcodes: Python's `pickletools`, which does the splitting; those that are of no
use to tables (persistent ids, extensions, out-of-band buffers) are refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from scene.errors import FormatError

_MAX_STEPS: Final = 5_000_000


class Name(NamedTuple):
    """Something that a pickle calls or makes, by its dotted name."""

    name: str


@dataclass(slots=True)
class Made:
    """An object that a pickle asks for, not made.

    Attributes:
        name: dotted name of the class or function.
        args: what it would be called with.
        state: what its `__setstate__` would get; None if nothing.
        items: what would be appended to it or set in it.
    """

    name: str
    args: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)


class _Mark:
    """The marker on the stack."""


_MARK: Final = _Mark()
_PLAIN: Final = frozenset(
    {
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
        "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    }
)  # fmt: skip
_CONSTANTS: Final[dict[str, Callable[[], Any]]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list,
    "MARK": lambda: _MARK,
}  # fmt: skip
_IGNORED: Final = frozenset({"PROTO", "FRAME"})


def read_pickle(data: bytes, where: str) -> Any:
    """Return what a pickle holds, with `Made` in place of every object.

    Raises:
        FormatError: if the bytes are no complete pickle or use an opcode that tables never need.
    """
    machine = _Machine()
    try:
        for step, (opcode, arg, _) in enumerate(pickletools.genops(data)):
            if step > _MAX_STEPS:
                raise FormatError(f"{where}: over {_MAX_STEPS} steps in one pickle")
            if opcode.name == "STOP":
                return machine.pop()
            machine.run(opcode.name, arg)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, UnicodeError) as error:
        raise FormatError(f"{where}: not a readable pickle ({error})") from error
    raise FormatError(f"{where}: the pickle breaks off")


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, arg: Any) -> None:
        """Carry out one opcode."""
        if name in _IGNORED:
            return
        if name in _PLAIN:
            self.stack.append(arg)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        else:
            step = _STEPS.get(name)
            if step is None:
                raise ValueError(f"opcode {name} has no place in a table")
            step(self, arg)

    def pop(self) -> Any:
        """Return and remove the top of the stack, which must not be a mark."""
        top = self.stack.pop()
        if top is _MARK:
            raise ValueError("a value is missing")
        return top

    def pop_mark(self) -> list[Any]:
        """Return and remove everything above the topmost mark."""
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise ValueError("a mark is missing")

    def tuple_of(self, count: int) -> None:
        """Put the last values together."""
        items = [self.pop() for _ in range(count)][::-1]
        self.stack.append(tuple(items))

    def pairs(self, items: list[Any]) -> dict[Any, Any]:
        """Return keys and values in turn as a dictionary.

        Keys are plain: the hash of tuples in tuples can take for ever.
        """
        if any(not isinstance(key, str | bytes | int | float | None) for key in items[::2]):
            raise TypeError("a key that is neither text nor a number")
        return dict(zip(items[::2], items[1::2], strict=True))

    def set_items(self, items: list[Any]) -> None:
        """Set keys of the dictionary, or of the object, on top."""
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(self.pairs(items))
        elif isinstance(target, Made):
            target.items += items
        else:
            raise TypeError("items are set in what is no dictionary")

    def append(self, items: list[Any]) -> None:
        """Append to the list, or the object, on top."""
        target = self.stack[-1]
        if isinstance(target, list):
            target += items
        elif isinstance(target, Made):
            target.items += items
        else:
            raise TypeError("something is appended to what is no list")

    def put(self, key: int) -> None:
        """Remember the top of the stack."""
        self.memo[key] = self.stack[-1]

    def name_of_two(self) -> None:
        """Make a name of module and attribute on the stack."""
        attribute, module = self.pop(), self.pop()
        if not isinstance(attribute, str) or not isinstance(module, str):
            raise TypeError("a name that is no text")
        self.stack.append(Name(f"{module}.{attribute}"))

    def make(self, args: Any, named: Any) -> None:
        """Note a call; its result is a `Made`."""
        if not isinstance(named, Name) or not isinstance(args, tuple):
            raise TypeError("a call of what has no name")
        self.stack.append(Made(named.name, args))

    def build(self) -> None:
        """Note the state of the object on top."""
        state, target = self.pop(), self.stack[-1]
        if not isinstance(target, Made):
            raise TypeError("a state is given to what is no object")
        target.state = state


def _make_extended(machine: _Machine) -> None:
    _, args, named = machine.pop(), machine.pop(), machine.pop()
    machine.make(args, named)


_STEPS: Final[dict[str, Callable[[_Machine, Any], object]]] = {
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.pop_mark())),
    "LIST": lambda m, _: m.stack.append(m.pop_mark()),
    "DICT": lambda m, _: m.stack.append(m.pairs(m.pop_mark())),
    "APPEND": lambda m, _: m.append([m.pop()]),
    "APPENDS": lambda m, _: m.append(m.pop_mark()),
    "ADDITEMS": lambda m, _: m.append(m.pop_mark()),
    "SETITEM": lambda m, _: m.set_items([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m, _: m.set_items(m.pop_mark()),
    "POP": lambda m, _: m.stack.pop(),
    "POP_MARK": lambda m, _: m.pop_mark(),
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "PUT": lambda m, arg: m.put(arg),
    "BINPUT": lambda m, arg: m.put(arg),
    "LONG_BINPUT": lambda m, arg: m.put(arg),
    "GET": lambda m, arg: m.stack.append(m.memo[arg]),
    "BINGET": lambda m, arg: m.stack.append(m.memo[arg]),
    "LONG_BINGET": lambda m, arg: m.stack.append(m.memo[arg]),
    "GLOBAL": lambda m, arg: m.stack.append(Name(arg.replace(" ", "."))),
    "STACK_GLOBAL": lambda m, _: m.name_of_two(),
    "REDUCE": lambda m, _: m.make(m.pop(), m.pop()),
    "NEWOBJ": lambda m, _: m.make(m.pop(), m.pop()),
    "NEWOBJ_EX": lambda m, _: _make_extended(m),
    "BUILD": lambda m, _: m.build(),
}
