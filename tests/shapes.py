"""Checks the shapes and dtypes that ``src`` annotates with jaxtyping in every call that a test makes.

jaxtyping's import hook decorates every function and dataclass of the package. This module limits it
to those whose annotations name an array, and to these annotations: the type checker checks all other
types, tests pass stand-ins for them, and checking every call would double the time of the tests.
Whether a call is right depends on shapes and dtypes alone, so a call with those of a call before is
looked up. Arrays in lists and the like are not checked, because beartype looks at one item, drawn at
random.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from types import FunctionType, UnionType
from typing import Any, Union, get_args, get_origin

import jaxtyping
from beartype import beartype
from jaxtyping import (
    AbstractArray,
    AbstractDtype,
    _import_hook,
    install_import_hook,
    jaxtyped,
)


def check_shapes(package: str) -> None:
    """Check every module of a package that is imported after this call."""
    jaxtyping.jaxtyped = _where_an_array_is_named
    _import_hook._optimized_cache_from_source = _own_files_only(package)
    install_import_hook(package, "tests.shapes.checked")


def _own_files_only(package: str) -> Callable[..., str]:
    """Where jaxtyping's import hook keeps compiled modules, but for the package's own modules only.

    While one of them is imported, jaxtyping gives every module that it imports such a place of its own,
    so each test process would compile 2,500 modules of libraries again when it first runs: 16 s of
    processor time.
    """
    marked = _import_hook._optimized_cache_from_source
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    own = str(Path(spec.origin).parent)

    def place(checker: str, /, path: str, debug_override: bool | None = None) -> str:
        if path.startswith(own):
            return marked(checker, path, debug_override)
        return cache_from_source(path, debug_override)

    return place


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add a check of the arrays that a function takes and returns."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in hints.items() if _is_array(hint)}
    return beartype(function)


def _where_an_array_is_named(*, typechecker: Any) -> Callable[[Any], Any]:
    """Apply ``jaxtyped`` to functions and dataclasses that name an array, and to nothing else."""

    check = functools.partial(jaxtyped, typechecker=typechecker)

    def decorate(thing: Any) -> Any:
        if not _names_array(thing):
            return thing
        hints = str(list(getattr(thing, "__annotations__", {}).values()))
        by_value = not isinstance(thing, FunctionType) or "{" in hints
        return check(thing) if by_value else _looked_up(thing, check)

    return decorate


def _looked_up(function: FunctionType, check: Callable[[Any], Any]) -> Callable[..., Any]:
    """Check calls with new shapes or dtypes; others are as right as those before."""
    results: list[Any] = []
    right: dict[Any, set[Any]] = {}

    def returned(*_: Any, **__: Any) -> Any:
        return results.pop()

    @functools.cache
    def checked_call() -> Callable[..., Any]:
        return check(function)

    @functools.cache
    def checked_result() -> Callable[..., Any]:
        """A function that returns what was put into ``results``, with the same annotations."""
        code, closure = returned.__code__, returned.__closure__
        plain = FunctionType(code, function.__globals__, function.__name__, None, closure)
        return check(functools.update_wrapper(plain, function))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        asked = (*map(_facts, args), *kwargs, *map(_facts, kwargs.values()))
        known = right.get(asked)
        result = (checked_call() if known is None else function)(*args, **kwargs)
        facts = _facts(result)
        if known is None:
            right[asked] = {facts}
        elif facts not in known:
            results.append(result)
            checked_result()(*args, **kwargs)
            known.add(facts)
        return result

    return call


def _facts(value: Any) -> Any:
    """What a check depends on: shape and dtype of an array, of each in a tuple, else the type.

    Every call of an annotated function comes here, so what is most often needed is found first.
    """
    kind = type(value)
    is_array = _ARRAYS.get(kind)
    if is_array is None:
        is_array = _ARRAYS[kind] = _is_array_type(kind)
    if is_array:
        return kind, value.shape, value.dtype
    return tuple(map(_facts, value)) if isinstance(value, tuple) else kind


_ARRAYS: dict[type, bool] = {}
"""Whether a type that was seen is one of arrays."""


def _is_array_type(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("torch", "numpy") and hasattr(kind, "shape")


def _names_array(thing: Any) -> bool:
    """Whether a function or a dataclass has an array among its annotations.

    Raises:
        NameError: it has, but a name in the annotation is imported under ``TYPE_CHECKING`` only, which
            jaxtyping would silently leave unchecked.
    """
    if isinstance(thing, property):
        thing = thing.fget
    thing = getattr(thing, "__func__", thing)
    scope = vars(sys.modules[thing.__module__])
    hints = [hint for hint in inspect.get_annotations(thing).values() if _mentions(hint, scope)]
    return any(
        _is_array(eval(hint, dict(scope)) if isinstance(hint, str) else hint) for hint in hints
    )


def _mentions(hint: Any, scope: Mapping[str, Any]) -> bool:
    """Whether an annotation, evaluated or still a string, may contain an array."""
    if not isinstance(hint, str):
        return _is_array(hint)
    named = (scope.get(name, getattr(jaxtyping, name, None)) for name in re.findall(r"\w+", hint))
    return any(
        _is_array(value) or (isinstance(value, type) and issubclass(value, AbstractDtype))
        for value in named
    )


def _is_array(hint: Any) -> bool:
    """Whether an annotation is an array, or a union or a tuple of known length that has one."""
    parts = get_args(hint)
    if get_origin(hint) in (tuple, Union, UnionType) and Ellipsis not in parts:
        return any(_is_array(part) for part in parts)
    return isinstance(hint, type) and issubclass(hint, AbstractArray)
