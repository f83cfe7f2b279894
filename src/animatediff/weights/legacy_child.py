"""Reads one legacy pickle as data and nothing else; run alone, in a process of its own.

``python -I -S legacy_child.py header|convert`` takes the file on standard input, writes its table of
tensors (JSON) or its safetensors copy to standard output, and what went wrong to standard error. It
imports the standard library alone, opens nothing, and limits its own memory, time and output.

A pickle is a program for a small machine with some sixty instructions. This is that machine, without
the part that calls: a name never becomes an object, a call of the few functions that rebuild tensors
becomes a description of the tensor, and any other call becomes an inert placeholder. Placeholders
that are only carried along (a trainer's settings) are dropped; a tensor that depends on one is
refused, and so is any name that no weights need, although it could do nothing here.
"""

# ruff: noqa: D102 - the machine's methods are its instructions, in the words of ``pickletools``

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import mmap
import os
import pickletools
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

MAX_PICKLE_BYTES = 64 << 20
MAX_OPCODES = 2_500_000
MAX_MEMBERS = 200_000
MAX_TENSORS = 50_000
MAX_HEADER_BYTES = 16 << 20
MAX_DIMENSIONS = 16
MAX_DEPTH = 12
MAX_NODES = 200_000
CHUNK = 4 << 20
SPARE_MEMORY = 1 << 30
SPARE_OUTPUT = 64 << 20
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class Refused(Exception):
    """The file is not read, and why: the rest of a sentence that begins with its path."""


@dataclass(frozen=True)
class Global:
    """A name that a pickle mentions; never the thing that it names."""

    module: str
    name: str

    def __str__(self) -> str:
        return shown(f"{self.module}.{self.name}")


@dataclass(eq=False)
class Inert:
    """What a call that is not understood would have made, and what went into it."""

    name: str
    parts: list[Any] = field(default_factory=list[Any])


@dataclass(frozen=True)
class Storage:
    """Numbers in the file, before shapes."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True)
class TensorRef:
    """A view of a storage: offset and strides count elements."""

    dtype: str
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes, once it is written contiguously."""
        return math.prod(self.shape) * ITEM[self.dtype]


ITEM = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
FORMATS: Mapping[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}

STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "UntypedStorage": "U8",
}
DTYPES = {
    "float64": "F64",
    "double": "F64",
    "float32": "F32",
    "float": "F32",
    "float16": "F16",
    "half": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "long": "I64",
    "int32": "I32",
    "int": "I32",
    "int16": "I16",
    "short": "I16",
    "int8": "I8",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "bool": "BOOL",
}
STORAGE_HOMES = ("torch", "torch.cuda", "torch.storage")

DICTIONARIES = {"collections.OrderedDict", "collections.defaultdict", "builtins.dict"}
PARAMETER_DICT = "torch.nn.modules.container.ParameterDict"
BUILTINS = ("builtins", "__builtin__")
PLAIN_BUILTINS = {
    *("object", "set", "frozenset", "list", "tuple", "dict", "int", "float", "bool", "str"),
    *("bytes", "bytearray", "complex", "slice", "range", "Ellipsis", "NotImplemented", "long"),
    *("unicode", "basestring"),
}
PLAIN_FUNCTIONS = {
    "_codecs.encode",
    "collections.deque",
    "copy_reg._reconstructor",
    "copyreg._reconstructor",
    "datetime.date",
    "datetime.datetime",
    "datetime.time",
    "datetime.timedelta",
    "datetime.timezone",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "torch.device",
    "torch.serialization._get_layout",
}
"""Functions and lower-case classes that trainers' settings contain; calling them is inert too."""

RUNS_PROGRAMS = set(
    "_pickle asyncio bdb cloudpickle cProfile code codeop commands concurrent ctypes dill distutils "
    "doctest ensurepip fileinput ftplib http importlib imp joblib marshal multiprocessing nt os pdb "
    "pickle pip pkgutil platform posix profile pty pydoc runpy selectors setuptools shelve shutil "
    "signal site smtplib socket socketserver ssl subprocess sys tempfile test threading timeit trace "
    "turtle types urllib venv webbrowser xmlrpc zipimport _aix_support _osx_support _pyrepl".split()
)
"""Modules that no weights mention. Not the defence, for nothing runs: an honest word to the user."""

WRAPPERS = (
    *("state_dict", "controlnet", "model_state_dict", "params_ema", "params", "model", "module"),
    *("ema_state_dict", "ema", "unet"),
)
"""What trainers call the table of tensors inside of what they save, the more exact words first."""
NOT_WEIGHTS = ("optimizer", "lr_scheduler", "callbacks", "loops", "scaler", "grad_scaler")


# --- The machine -------------------------------------------------------------------------------


def interpret(file: BinaryIO | mmap.mmap, *, limit: int) -> Any:
    """What one pickle describes; the file is left behind its end."""
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
        raise Refused("is not a pickle that can be followed; get the file again") from None
    raise Refused("is a pickle without an end; get the file again")


class Machine:
    """The pickle machine: a stack, marks on it, and a memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, arg: Any) -> None:
        """Follow one instruction."""
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
                pass  # what an OrderedDict or a tensor carries beside its content
            case _:
                raise TypeError

    def _replace(self, old: Inert, new: Any) -> None:
        """Let a placeholder that turned out to be understood be what it stands for."""
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
    """Keys and values that alternate."""
    if len(items) % 2:
        raise IndexError
    return zip(items[::2], items[1::2], strict=True)


def as_key(key: Any) -> Any:
    """Keys of tables of weights are plain; others are only carried along."""
    return key if isinstance(key, (str, int, float, bytes, Global, type(None))) else Inert("key")


def checked(name: Global) -> Global:
    """The same name, unless no weights need it."""
    root = name.module.partition(".")[0]
    plain = name.name in PLAIN_BUILTINS if root in BUILTINS else root not in RUNS_PROGRAMS
    if not plain or not root:
        raise Refused(f"names {name}, a program that no weights need, and may be meant to do harm")
    return name


def called(function: Any, arguments: Any) -> Any:
    """What a call describes: a tensor, a table, or something inert; nothing is ever called."""
    if not isinstance(arguments, tuple):
        raise TypeError
    if not isinstance(function, Global):
        return Inert("the result of another", [function, arguments])
    path = f"{function.module}.{function.name}"
    if path in REBUILDS:
        return REBUILDS[path](*arguments)
    if path in DICTIONARIES or path == "__builtin__.dict":
        return made(function, [arguments])
    if path == "torch.Size":
        return tuple(arguments[0]) if arguments and isinstance(arguments[0], (list, tuple)) else ()
    last = function.name.rpartition(".")[2].lstrip("_")
    is_plain = path in PLAIN_FUNCTIONS or function.module in BUILTINS
    if not (last[:1].isupper() or is_plain):
        raise Refused(f"calls {function}, a function that no weights need")
    return Inert(path, [arguments])


def made(cls: Any, parts: list[Any]) -> Any:
    """An object of a class: a table, or something inert."""
    if not isinstance(cls, Global):
        return Inert("an object of another", [cls, *parts])
    path = f"{cls.module}.{cls.name}"
    if path not in DICTIONARIES and path != "__builtin__.dict":
        return Inert(path, parts)
    table: dict[Any, Any] = {}
    for argument in parts[0] if isinstance(parts[0], tuple) else ():
        if isinstance(argument, dict):
            table |= argument
        elif isinstance(argument, list):
            table |= {as_key(key): value for key, value in argument}
    return table


def storage_of(key: Any) -> Any:
    """The numbers that a persistent name of torch stands for."""
    match key:
        case ("storage", Global() as kind, str() | int() as name, _, int() as count, *view):
            if view and view[0] is not None:
                raise Refused("has a storage inside of another, as only torch before 0.4 wrote")
            dtype = STORAGES.get(kind.name) if kind.module in STORAGE_HOMES else None
            if dtype is None or count < 0:
                raise Refused(f"stores numbers as {kind}, which safetensors has no word for")
            return Storage(dtype, str(name), count)
        case ("module", *rest):
            return Inert("a module", list(rest))
        case _:
            raise Refused("names its numbers in a way that is not torch's")


def rebuilt(
    storage: Any = None, offset: Any = None, shape: Any = None, strides: Any = None, *_: Any
) -> TensorRef:
    """The tensor that ``torch._utils._rebuild_tensor_v2`` describes."""
    return view_of(storage, offset, shape, strides, dtype=None)


def rebuilt_with_dtype(
    storage: Any = None,
    offset: Any = None,
    shape: Any = None,
    strides: Any = None,
    _requires_grad: Any = None,
    _hooks: Any = None,
    dtype: Any = None,
    *_: Any,
) -> TensorRef:
    """The tensor that ``torch._utils._rebuild_tensor_v3`` describes: its storage is bytes."""
    known = DTYPES.get(dtype.name) if isinstance(dtype, Global) else None
    if known is None:
        raise Refused(f"stores numbers as {dtype_name(dtype)}, which safetensors has no word for")
    return view_of(storage, offset, shape, strides, dtype=known)


def dtype_name(dtype: Any) -> str:
    """What a dtype is called, if it is one."""
    return str(dtype) if isinstance(dtype, Global) else "something unknown"


def view_of(storage: Any, offset: Any, shape: Any, strides: Any, *, dtype: str | None) -> TensorRef:
    """A view that stays inside of its storage."""
    if isinstance(storage, Inert):
        raise Refused(f"has a tensor that depends on {shown(storage.name)}, which is not run")
    if not isinstance(storage, Storage):
        raise TypeError
    lists = [shape, strides]
    if not all(isinstance(values, tuple) and len(values) <= MAX_DIMENSIONS for values in lists):
        raise Refused("has a tensor whose shape depends on something that is not run")
    numbers = (offset, *shape, *strides)
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers) or len(shape) != len(strides):
        raise Refused("has a tensor whose shape depends on something that is not run")
    dtype = dtype or storage.dtype
    count = storage.count * ITEM[storage.dtype] // ITEM[dtype]
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= count:
        raise Refused("is damaged: a tensor reaches beyond its numbers")
    return TensorRef(dtype, storage, offset, shape, strides)


def first(value: Any = None, *_: Any) -> Any:
    """A parameter is the tensor that it was made of."""
    return value


def rebuilt_from_type(function: Any = None, cls: Any = None, arguments: Any = None, *_: Any) -> Any:
    """A tensor that carried Python attributes, which are left behind."""
    plain = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter")
    if isinstance(cls, Global) and f"{cls.module}.{cls.name}" not in plain:
        raise Refused(f"has a tensor that depends on {cls}, which is not run")
    return called(function, arguments)


REBUILDS: Mapping[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": rebuilt,
    "torch._utils._rebuild_tensor_v2": rebuilt,
    "torch._utils._rebuild_tensor_v3": rebuilt_with_dtype,
    "torch._utils._rebuild_parameter": first,
    "torch._utils._rebuild_parameter_with_state": first,
    "torch._tensor._rebuild_from_type_v2": rebuilt_from_type,
    "torch.nn.parameter.Parameter": first,
}


# --- From objects to a table of tensors --------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What a pickle holds that is worth keeping.

    Attributes:
        tensors: by name.
        texts: small plain entries beside them, such as a name or a step.
        dropped: names of entries that are no tensors.
    """

    tensors: Mapping[str, TensorRef]
    texts: Mapping[str, str]
    dropped: Sequence[str]


def find_tensors(root: Any) -> Found:
    """The table of tensors inside of whatever was saved around it."""
    if isinstance(root, TensorRef):
        raise Refused("holds a single tensor without a name, and no table of weights")
    if not isinstance(root, dict):
        what = f"an object of {shown(root.name)}" if isinstance(root, Inert) else "no table"
        raise Refused(f"holds {what} and not a table of weights; only its tensors can be used")
    table: dict[Any, Any] = root
    for _ in range(MAX_DEPTH):
        inner = wrapped_table(table)
        if inner is None:
            break
        table = inner
    tensors: dict[str, TensorRef] = {}
    dropped: list[str] = []
    collect(table, prefix="", tensors=tensors, dropped=dropped, depth=0)
    if not tensors:
        raise Refused("holds no tensors")
    return Found(tensors, texts_of(root), dropped)


def wrapped_table(table: Mapping[Any, Any]) -> dict[Any, Any] | None:
    """The table of tensors below one of the words that trainers use, if there is one."""
    for word in WRAPPERS:
        inner = table.get(word)
        if isinstance(inner, dict) and any(holds_tensor(value) for value in inner.values()):
            plain = sum(isinstance(value, TensorRef) for value in table.values())
            if not plain or word in WRAPPERS[:2]:
                return inner
    return None


def collect(
    table: Mapping[Any, Any],
    *,
    prefix: str,
    tensors: dict[str, TensorRef],
    dropped: list[str],
    depth: int,
) -> None:
    """All tensors of a table and of the tables in it, by their path with dots."""
    if depth > MAX_DEPTH:
        raise Refused("nests its tables deeper than any weights")
    for key, value in table.items():
        name = f"{prefix}{key}" if isinstance(key, (str, int)) else None
        if isinstance(value, TensorRef) and name is not None:
            if name in tensors:
                raise Refused(f"has two tensors of the name {shown(name)}")
            if len(tensors) >= MAX_TENSORS:
                raise Refused(f"holds more than {MAX_TENSORS} tensors")
            tensors[name] = value
        elif isinstance(value, dict) and name is not None and is_weights(name):
            inner = f"{name}."
            collect(value, prefix=inner, tensors=tensors, dropped=dropped, depth=depth + 1)
        elif isinstance(value, Inert) and is_weights(name) and holds_tensor(value):
            raise Refused(
                f"has a tensor that depends on {shown(value.name)}, which is not run; "
                f"it is in {shown(name or 'an entry without a name')}"
            )
        elif len(dropped) < MAX_TENSORS:
            dropped.append(name or "an entry without a name")


def is_weights(name: str | None) -> bool:
    """Whether an entry is not one of those that trainers keep for themselves."""
    return name is None or not name.startswith(NOT_WEIGHTS)


def holds_tensor(value: Any) -> bool:
    """Whether a tensor is somewhere below, as far as is worth looking."""
    waiting, seen = [value], set[int]()
    while waiting and len(seen) < MAX_NODES:
        here = waiting.pop()
        if isinstance(here, TensorRef):
            return True
        if id(here) in seen:
            continue
        seen.add(id(here))
        if isinstance(here, Inert):
            waiting.extend(here.parts)
        elif isinstance(here, dict):
            waiting.extend(here.values())
        elif isinstance(here, (list, tuple)):
            waiting.extend(here)
    return False


def texts_of(table: Mapping[Any, Any]) -> dict[str, str]:
    """Small plain entries at the top: a name, a step, a configuration."""
    texts: dict[str, str] = {}
    for key, value in itertools.islice(table.items(), 1000):
        if isinstance(key, str) and len(key) <= 100 and len(texts) < 32:
            plain = as_plain(value, budget=[200], depth=0)
            if plain is not NOTHING:
                text = plain if isinstance(plain, str) else json.dumps(plain)
                if len(text) <= 4096 and is_text(key) and is_text(text):
                    texts[key] = text
    return texts


NOTHING = object()


def as_plain(value: Any, *, budget: list[int], depth: int) -> Any:
    """The value if it is small and made of numbers, texts, lists and tables alone."""
    budget[0] -= 1
    if budget[0] < 0 or depth > 6:
        return NOTHING
    if isinstance(value, (str, bool, int, float, type(None))):
        # Writing a number of many digits takes its square in time.
        huge = isinstance(value, int) and value.bit_length() > 64
        return NOTHING if huge or (value is None and not depth) else value
    if isinstance(value, (list, tuple)):
        items = [as_plain(item, budget=budget, depth=depth + 1) for item in value[:200]]
        return NOTHING if any(item is NOTHING for item in items) or not depth else items
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        table = {
            key: as_plain(item, budget=budget, depth=depth + 1)
            for key, item in itertools.islice(value.items(), 200)
        }
        return NOTHING if any(item is NOTHING for item in table.values()) else table
    return NOTHING


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- The two containers ------------------------------------------------------------------------


@dataclass(frozen=True)
class Opened:
    """A pickle that was followed, and where its storages lie.

    Attributes:
        root: what it describes.
        place: the first byte of a storage and the checksum of its bytes, if one was written.
    """

    root: Any
    place: Callable[[Storage], tuple[int, int | None]]


def open_zip(file: BinaryIO, data: mmap.mmap) -> Opened:
    """A file of torch since 1.6: a zip with a pickle and a member for each storage."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, struct.error):
        raise Refused("is a damaged or truncated zip file; get the file again") from None
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise Refused(f"is a zip file of {len(infos)} members, more than any weights have")
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise Refused("is a zip file with two members of one name, which torch never writes")
    pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise Refused("is a zip file without torch's table of tensors; unpack it first")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in members or any(n.startswith(f"{root}code/") for n in members):
        raise Refused("is a TorchScript program and not a table of weights")
    order = members.get(f"{root}byteorder")
    if order is not None and member_bytes(order, data, limit=16).strip() != b"little":
        raise Refused("was written on a machine with another order of bytes")
    pickle = member_bytes(members[pickles[0]], data, limit=MAX_PICKLE_BYTES)

    def place(storage: Storage) -> tuple[int, int | None]:
        info = members.get(f"{root}data/{storage.key}")
        if info is None:
            raise Refused("is damaged: the numbers of a tensor are missing; get the file again")
        start, size = member_span(info, data)
        if size < storage.count * ITEM[storage.dtype]:
            raise Refused("is damaged: a tensor has fewer numbers than it says")
        if size != storage.count * ITEM[storage.dtype]:
            return start, None  # the checksum is of more than the numbers
        return start, info.CRC

    opened = interpret(io.BytesIO(pickle), limit=MAX_PICKLE_BYTES)
    return Opened(opened, place)


def member_span(info: zipfile.ZipInfo, data: mmap.mmap) -> tuple[int, int]:
    """Where a member's bytes lie in the file: torch stores them as they are."""
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise Refused("has compressed numbers, which torch never writes")
    if info.flag_bits & 1:
        raise Refused("is encrypted")
    header = data[info.header_offset : info.header_offset + 30]
    if len(header) != 30 or not header.startswith(b"PK\x03\x04"):
        raise Refused("is a damaged zip file; get the file again")
    name, extra = struct.unpack("<HH", header[26:30])
    start = info.header_offset + 30 + name + extra
    if start + info.file_size > len(data):
        raise Refused("is truncated: its zip file promises more than there is; get the file again")
    return start, info.file_size


def member_bytes(info: zipfile.ZipInfo, data: mmap.mmap, *, limit: int) -> bytes:
    """A small member, whole."""
    if info.file_size > limit:
        raise Refused(f"has a member of {info.file_size} bytes where at most {limit} are read")
    start, size = member_span(info, data)
    content = data[start : start + size]
    if zlib.crc32(content) != info.CRC:
        raise Refused("is damaged: a checksum in its zip file is wrong; get the file again")
    return content


def open_old(data: mmap.mmap) -> Opened:
    """A file of torch before 1.6: five pickles, then the storages one after the other."""
    if interpret(data, limit=64) != MAGIC or interpret(data, limit=128) != PROTOCOL:
        raise Refused("is a pickle, but not one of torch's")
    facts = interpret(data, limit=4096)
    if not isinstance(facts, dict) or facts.get("little_endian") is not True:
        raise Refused("was written on a machine with another order of bytes")
    start = data.tell()
    root = interpret(data, limit=start + MAX_PICKLE_BYTES)
    keys = interpret(data, limit=data.tell() + MAX_PICKLE_BYTES)
    if not isinstance(keys, list) or not all(isinstance(key, (str, int)) for key in keys):
        raise Refused("is damaged: its list of storages is not one; get the file again")
    rank = {str(key): index for index, key in enumerate(keys)}
    return Opened(root, old_places(data, rank=rank, start=data.tell(), root=root))


def old_places(
    data: mmap.mmap, *, rank: Mapping[str, int], start: int, root: Any
) -> Callable[[Storage], tuple[int, int | None]]:
    """Storages follow each other, each after its count, so that all must be known to find one."""
    items = {storage.key: ITEM[storage.dtype] for storage in storages_in(root)}
    if set(items) != set(rank):
        raise Refused("is damaged: its storages are not those of its tensors; get the file again")
    places: dict[str, tuple[int, int]] = {}
    here = start
    for key in sorted(rank, key=rank.__getitem__):
        head = data[here : here + 8]
        count = int.from_bytes(head, "little", signed=True) if len(head) == 8 else -1
        end = here + 8 + count * items[key]
        if count < 0 or end > len(data):
            raise Refused("is truncated: the numbers of a tensor are missing; get the file again")
        places[key] = (here + 8, count)
        here = end

    def place(storage: Storage) -> tuple[int, int | None]:
        begin, count = places[storage.key]
        if storage.count > count:
            raise Refused("is damaged: a tensor has fewer numbers than it says")
        return begin, None

    return place


def storages_in(root: Any) -> Iterator[Storage]:
    """Every storage that anything mentions, also what is not kept."""
    waiting, seen = [root], set[int]()
    while waiting:
        here = waiting.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        if isinstance(here, TensorRef):
            yield here.storage
        elif isinstance(here, Storage):
            yield here
        elif isinstance(here, Inert):
            waiting.extend(here.parts)
        elif isinstance(here, dict):
            waiting.extend(here.values())
        elif isinstance(here, (list, tuple)):
            waiting.extend(here)


def open_pickle(file: BinaryIO, data: mmap.mmap) -> Opened:
    """Any of the formats, told apart by their first bytes."""
    start = data[:512]
    if start.startswith(b"PK\x03\x04"):
        return open_zip(file, data)
    if start[257:262] == b"ustar":
        raise Refused("is a tar file, as torch wrote them before 0.1.10; save it anew with torch")
    if start.startswith(b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little")):
        return open_old(data)
    root = interpret(data, limit=MAX_PICKLE_BYTES)
    if root == MAGIC:
        data.seek(0)
        return open_old(data)

    def nowhere(_: Storage) -> tuple[int, int | None]:
        raise Refused("is a pickle, but not one of torch's")

    return Opened(root, nowhere)


# --- Writing safetensors -----------------------------------------------------------------------


def header_of(found: Found, *, texts: Mapping[str, str], limit: int) -> tuple[bytes, list[str]]:
    """The header of the copy, and the names in the order of their numbers."""
    table: dict[str, Any] = {"__metadata__": dict(texts)}
    # Wide numbers first, so that each begins at a multiple of its own size.
    names = sorted(found.tensors, key=lambda name: -ITEM[found.tensors[name].dtype])
    here = 0
    for name in names:
        tensor = found.tensors[name]
        if name == "__metadata__" or not is_text(name):
            raise Refused("has a tensor whose name safetensors cannot write")
        end = here + tensor.size
        entry = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [here, end]}
        table[name] = entry
        here = end
        if here > limit:
            raise Refused(f"would unpack to more than {limit} bytes, many times its own size")
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise Refused("has names of tensors that are longer than any weights need")
    return struct.pack("<Q", len(text)) + text, names


def write_tensors(
    found: Found, names: Sequence[str], opened: Opened, data: mmap.mmap, out: BinaryIO
) -> None:
    """All numbers, contiguous and in order."""
    checksums: dict[tuple[int, int], bool] = {}
    whole = memoryview(data)
    for name in names:
        tensor = found.tensors[name]
        start, checksum = opened.place(tensor.storage)
        size = tensor.storage.count * ITEM[tensor.storage.dtype]
        numbers = whole[start : start + size]
        if checksum is not None and (start, size) not in checksums:
            checksums[start, size] = crc_of(numbers) == checksum
            if not checksums[start, size]:
                raise Refused(
                    f"is damaged: the numbers of {shown(name)} do not match their checksum; "
                    "get the file again"
                )
        write_view(tensor, numbers, out)


def crc_of(numbers: memoryview) -> int:
    """The checksum that zip files carry."""
    value = 0
    for begin in range(0, len(numbers), CHUNK):
        value = zlib.crc32(numbers[begin : begin + CHUNK], value)
    return value


def write_view(tensor: TensorRef, numbers: memoryview, out: BinaryIO) -> None:
    """One tensor; if its strides are those of its shape, straight from the file."""
    item = ITEM[tensor.dtype]
    if not tensor.size:
        return
    begin = tensor.offset * item
    if is_contiguous(tensor):
        for here in range(begin, begin + tensor.size, CHUNK):
            out.write(numbers[here : min(here + CHUNK, begin + tensor.size)])
        return
    usable = len(numbers) // item * item
    source = numbers[:usable].cast("B").cast(FORMATS[item])
    out.write(contiguous(tensor, source))


def is_contiguous(tensor: TensorRef) -> bool:
    """Whether the last index runs fastest, without holes."""
    expected = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def contiguous(tensor: TensorRef, source: memoryview) -> bytearray:
    """A strided tensor's numbers in order, copied along its longest axis at a time."""
    shape, strides = tensor.shape, tensor.strides
    target_strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    result = bytearray(tensor.size)
    target = memoryview(result).cast(FORMATS[ITEM[tensor.dtype]])
    longest = max(range(len(shape)), key=shape.__getitem__)
    others = [i for i in range(len(shape)) if i != longest]
    count, step, target_step = shape[longest], strides[longest], target_strides[longest]
    for index in itertools.product(*(range(shape[i]) for i in others)):
        here = tensor.offset + sum(n * strides[i] for n, i in zip(index, others, strict=True))
        there = sum(n * target_strides[i] for n, i in zip(index, others, strict=True))
        places = slice(there, there + (count - 1) * target_step + 1, target_step)
        if step == 0:
            for place in range(places.start, places.stop, target_step):
                target[place] = source[here]
        else:
            target[places] = source[here : here + (count - 1) * step + 1 : step]
    target.release()
    return result


# --- The process -------------------------------------------------------------------------------


def confine(size: int, *, seconds: int) -> None:
    """Limit this process to what a file of that size can need, before any of it is read."""
    try:
        import resource
    except ImportError:  # Windows: its parent still watches the time
        return
    limits = {
        "RLIMIT_AS": 2 * size + SPARE_MEMORY,
        "RLIMIT_CPU": seconds,
        "RLIMIT_FSIZE": 2 * size + 2 * SPARE_OUTPUT,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 16,
        "RLIMIT_NPROC": 0,
    }
    for name, value in limits.items():
        which = getattr(resource, name, None)
        if which is not None:
            _, hard = resource.getrlimit(which)
            least = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (least, least))


def run(action: str, file: BinaryIO, out: BinaryIO) -> dict[str, Any]:
    """Read the file, write what was asked for; returns the report."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise Refused("is empty; get the file again")
    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # closed when the process ends
    opened = open_pickle(file, data)
    found = find_tensors(opened.root)
    limit = 2 * size + SPARE_OUTPUT
    texts = {"format": "pt", **found.texts}
    header, names = header_of(found, texts=texts, limit=limit)
    if action == "header":
        for storage in {tensor.storage for tensor in found.tensors.values()}:
            opened.place(storage)  # that the numbers are there
        table = {name: [t.dtype, list(t.shape)] for name, t in found.tensors.items()}
        report = {"tensors": table, "texts": found.texts}
        out.write(json.dumps(report).encode())
    else:
        digest = hashlib.sha256()
        for begin in range(0, size, CHUNK):
            digest.update(data[begin : begin + CHUNK])
        texts |= {"converted_from": "pickle", "source_sha256": digest.hexdigest()}
        header, names = header_of(found, texts=texts, limit=limit)
        out.write(header)
        write_tensors(found, names, opened, data, out)
    out.flush()
    return {"dropped": [shown(name) for name in found.dropped[:20]], "drops": len(found.dropped)}


def shown(name: str) -> str:
    """Names are data from elsewhere: shortened, and without control characters."""
    printable = "".join(c if c.isprintable() else "?" for c in name[:400])
    return printable if len(printable) <= 100 else f"{printable[:97]}..."


def main(arguments: Sequence[str]) -> int:
    """Be the process; the report is the one line on standard error."""
    action, seconds = arguments
    file, out = sys.stdin.buffer, sys.stdout.buffer
    report: dict[str, Any]
    try:
        confine(os.fstat(file.fileno()).st_size, seconds=int(seconds))
        report = run(action, file, out)
    except Refused as refusal:
        report = {"refused": str(refusal)}
    except MemoryError:
        report = {"refused": "needs more memory than its size can explain"}
    except RecursionError:
        report = {"refused": "nests its entries deeper than any weights"}
    except OSError as error:
        report = {"unwritable": error.strerror or str(error)}
    sys.stderr.write(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
