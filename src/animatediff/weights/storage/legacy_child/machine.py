"""The pickle machine, without the part that calls functions."""

# ruff: noqa: D102 - the methods are the machine's instructions, named as in ``pickletools``

from __future__ import annotations

import mmap
import pickletools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from animatediff.weights.storage.legacy_child.calls import (
    PARAMETER_DICT,
    as_key,
    called,
    checked,
    made,
    storage_of,
)
from animatediff.weights.storage.legacy_child.described import (
    Global,
    Inert,
    Refused,
    Storage,
    TensorRef,
)

MAX_OPCODES = 2_500_000


def interpret(file: BinaryIO | mmap.mmap, *, limit: int) -> Any:
    """Parse one pickle into a description; the file is left after its end."""
    machine = Machine()
    steps = 0
    try:
        for opcode, arg, position in pickletools.genops(file):  # pyright: ignore[reportArgumentType]
            steps += 1
            if steps > MAX_OPCODES or (position or 0) > limit:
                raise Refused("is a pickle that is longer than any table of weights")
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, arg)
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, UnicodeError):
        raise Refused("is not a valid pickle; get the file again") from None
    raise Refused("is a pickle without an end; get the file again")


class Machine:
    """The pickle machine: a stack, marks on it, and a memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, arg: Any) -> None:
        """Execute one instruction."""
        if name in PUSHES:
            self.stack.append(arg)
        elif name in MAKES:
            self.stack.append(MAKES[name]())
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[arg])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[arg] = self.stack[-1]
        elif name in SIZES:
            self.stack.append(tuple(self._take(SIZES[name])))
        elif name not in IGNORED:
            handler = HANDLERS.get(name)
            if handler is None:
                raise Refused(f"is a pickle with the instruction {name}, which no weights need")
            handler(self, arg)

    def _take(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _take_marked(self) -> list[Any]:
        mark = self.marks.pop()
        if mark > len(self.stack):
            raise IndexError
        taken = self.stack[mark:]
        del self.stack[mark:]
        return taken

    def memoize(self, arg: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def mark(self, arg: Any) -> None:
        self.marks.append(len(self.stack))

    def pop(self, arg: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def pop_mark(self, arg: Any) -> None:
        self._take_marked()

    def duplicate(self, arg: Any) -> None:
        self.stack.append(self.stack[-1])

    def make_list(self, arg: Any) -> None:
        self.stack.append(self._take_marked())

    def make_tuple(self, arg: Any) -> None:
        self.stack.append(tuple(self._take_marked()))

    def make_frozenset(self, arg: Any) -> None:
        self.stack.append(Inert("frozenset", self._take_marked()))

    def make_dict(self, arg: Any) -> None:
        items = self._take_marked()
        self.stack.append({})
        self._set_items(items)

    def append(self, arg: Any) -> None:
        self._extend(self._take(1))

    def appends(self, arg: Any) -> None:
        self._extend(self._take_marked())

    def _extend(self, items: list[Any]) -> None:
        match self.stack[-1]:
            case list() as target:
                target.extend(items)
            case Inert() as target:
                target.parts.extend(items)
            case _:
                raise TypeError

    def set_item(self, arg: Any) -> None:
        self._set_items(self._take(2))

    def set_items(self, arg: Any) -> None:
        self._set_items(self._take_marked())

    def _set_items(self, items: list[Any]) -> None:
        match self.stack[-1]:
            case dict() as target:
                for key, value in pairs(items):
                    target[as_key(key)] = value
            case Inert() as target:
                target.parts.extend(items)
            case _:
                raise TypeError

    def find_global(self, arg: str) -> None:
        module, _, name = arg.partition(" ")
        self.stack.append(checked(Global(module, name)))

    def find_stack_global(self, arg: Any) -> None:
        module, name = self._take(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError
        self.stack.append(checked(Global(module, name)))

    def reduce(self, arg: Any) -> None:
        function, arguments = self._take(2)
        self.stack.append(called(function, arguments))

    def new_object(self, arg: Any) -> None:
        cls, arguments = self._take(2)
        self.stack.append(made(cls, [arguments]))

    def new_object_ex(self, arg: Any) -> None:
        cls, arguments, keywords = self._take(3)
        self.stack.append(made(cls, [arguments, keywords]))

    def instance(self, arg: str) -> None:
        module, _, name = arg.partition(" ")
        function = checked(Global(module, name))
        self.stack.append(called(function, tuple(self._take_marked())))

    def object(self, arg: Any) -> None:
        cls, *arguments = self._take_marked()
        self.stack.append(called(cls, tuple(arguments)))

    def build(self, arg: Any) -> None:
        (state,) = self._take(1)
        match self.stack[-1]:
            case Inert(name=name) as target:
                if name == PARAMETER_DICT and isinstance(state, dict):
                    parameters = state.get("_parameters")
                    self._replace(target, parameters if isinstance(parameters, dict) else {})
                else:
                    target.parts.append(state)
            case dict() | TensorRef() | Storage():
                pass  # attributes of an OrderedDict or a tensor
            case _:
                raise TypeError

    def _replace(self, old: Inert, new: Any) -> None:
        """Replace a placeholder that turned out to be understood."""
        self.stack[-1] = new
        for key, value in self.memo.items():
            if value is old:
                self.memo[key] = new

    def persistent(self, arg: Any) -> None:
        (key,) = self._take(1)
        self.stack.append(storage_of(key))


PUSHES = set(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE "
    "BINUNICODE8".split()
)
MAKES: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": lambda: Inert("set"),
}
SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
IGNORED = {"PROTO", "FRAME"}
HANDLERS: Mapping[str, Callable[[Machine, Any], None]] = {
    "MEMOIZE": Machine.memoize,
    "MARK": Machine.mark,
    "POP": Machine.pop,
    "POP_MARK": Machine.pop_mark,
    "DUP": Machine.duplicate,
    "LIST": Machine.make_list,
    "TUPLE": Machine.make_tuple,
    "FROZENSET": Machine.make_frozenset,
    "DICT": Machine.make_dict,
    "APPEND": Machine.append,
    "APPENDS": Machine.appends,
    "ADDITEMS": Machine.appends,
    "SETITEM": Machine.set_item,
    "SETITEMS": Machine.set_items,
    "GLOBAL": Machine.find_global,
    "STACK_GLOBAL": Machine.find_stack_global,
    "REDUCE": Machine.reduce,
    "NEWOBJ": Machine.new_object,
    "NEWOBJ_EX": Machine.new_object_ex,
    "INST": Machine.instance,
    "OBJ": Machine.object,
    "BUILD": Machine.build,
    "BINPERSID": Machine.persistent,
}


def pairs(items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Pair up alternating keys and values."""
    if len(items) % 2:
        raise IndexError
    return zip(items[::2], items[1::2], strict=True)
