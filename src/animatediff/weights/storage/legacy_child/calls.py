"""Interpret names and calls in a pickle; nothing that they name is ever looked up or called."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from animatediff.weights.storage.legacy_child.described import (
    ITEM,
    Global,
    Inert,
    Refused,
    Storage,
    TensorRef,
    shown,
)

MAX_DIMENSIONS = 16


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
"""Functions and lower-case classes that trainers' settings contain; calls of them are inert too."""

RUNS_PROGRAMS = set(
    "_pickle asyncio bdb cloudpickle cProfile code codeop commands concurrent ctypes dill distutils "
    "doctest ensurepip fileinput ftplib http importlib imp joblib marshal multiprocessing nt os pdb "
    "pickle pip pkgutil platform posix profile pty pydoc runpy selectors setuptools shelve shutil "
    "signal site smtplib socket socketserver ssl subprocess sys tempfile test threading timeit trace "
    "turtle types urllib venv webbrowser xmlrpc zipimport _aix_support _osx_support _pyrepl".split()
)
"""Modules that no weights need. This is not the defence, because nothing runs; it informs the user."""


def as_key(key: Any) -> Any:
    """Keys of weight tables are plain; other keys are only carried along."""
    return key if isinstance(key, (str, int, float, bytes, Global, type(None))) else Inert("key")


def checked(name: Global) -> Global:
    """Return the name, unless no weights need it."""
    root = name.module.partition(".")[0]
    plain = name.name in PLAIN_BUILTINS if root in BUILTINS else root not in RUNS_PROGRAMS
    if not plain or not root:
        raise Refused(f"names {name}, a program that no weights need, and may be meant to do harm")
    return name


def called(function: Any, arguments: Any) -> Any:
    """Interpret a call as a tensor, a table, or something inert; nothing is ever called."""
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
    """Interpret an object of a class as a table or something inert."""
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
    """Return the values that one of torch's persistent names stands for."""
    match key:
        case ("storage", Global() as kind, str() | int() as name, _, int() as count, *view):
            if view and view[0] is not None:
                raise Refused("has a storage inside another one, as only torch before 0.4 wrote")
            dtype = STORAGES.get(kind.name) if kind.module in STORAGE_HOMES else None
            if dtype is None or count < 0:
                raise Refused(f"stores values as {kind}, which safetensors does not support")
            return Storage(dtype, str(name), count)
        case ("module", *rest):
            return Inert("a module", list(rest))
        case _:
            raise Refused("names its values in a way that torch does not use")


def rebuilt(
    storage: Any = None, offset: Any = None, shape: Any = None, strides: Any = None, *_: Any
) -> TensorRef:
    """Return the tensor that ``torch._utils._rebuild_tensor_v2`` describes."""
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
    """Return the tensor that ``torch._utils._rebuild_tensor_v3`` describes: its storage is bytes."""
    known = DTYPES.get(dtype.name) if isinstance(dtype, Global) else None
    if known is None:
        raise Refused(f"stores values as {dtype_name(dtype)}, which safetensors does not support")
    return view_of(storage, offset, shape, strides, dtype=known)


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype, if it is one."""
    return str(dtype) if isinstance(dtype, Global) else "something unknown"


def view_of(storage: Any, offset: Any, shape: Any, strides: Any, *, dtype: str | None) -> TensorRef:
    """Return a view that stays inside its storage."""
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
        raise Refused("is damaged: a tensor is larger than its values")
    return TensorRef(dtype, storage, offset, shape, strides)


def first(value: Any = None, *_: Any) -> Any:
    """Return the tensor inside a parameter."""
    return value


def rebuilt_from_type(function: Any = None, cls: Any = None, arguments: Any = None, *_: Any) -> Any:
    """Return a tensor without the Python attributes that it carried."""
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
